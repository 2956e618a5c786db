"""Images on their way from and to registries, as they are shown: `progress` is what is known, `view` shows it."""
