async def test_a_container_runs(box) -> None:
    result = await box.run("echo hello; echo bad >&2; exit 3")
    assert (result.out, result.err, result.code) == ("hello\n", "bad\n", 3)
