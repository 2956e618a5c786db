"""How things look: colours and sizes for every view (`theme`), Docker's wording (`words`), safe text (`text`)."""
