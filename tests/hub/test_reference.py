"""References: their forms, and the files of a repository that they mean."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmcore.errors import ConfigError
from llmcore.hub.reference import HUB, HubFile, Reference, at_revision, choose, is_model_path, parse_reference

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = (
    ".gitattributes",
    "README.md",
    "m-Q4_K_M.gguf",
    "m-Q4_K_S.gguf",
    "m-UD-Q8_0.gguf",
    "m.Q5_0.gguf",
    "mmproj-m-Q4_K_M.gguf",
    "m-imatrix.gguf",
    "big/m-F16-00002-of-00002.gguf",
    "big/m-F16-00001-of-00002.gguf",
)


def files(*paths: str) -> list[HubFile]:
    return [HubFile(path, 1) for path in paths]


def chosen(text: str, *paths: str) -> list[str]:
    reference = parse_reference(text)
    assert reference is not None
    return [file.path for file in choose(files(*(paths or FILES)), reference)]


@pytest.mark.parametrize("text", ["", "smollm2-135m-instruct", "llama:Q4_K_M"])
def test_a_name_is_no_reference(text: str) -> None:
    assert parse_reference(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", Reference("a/b")),
        ("a/b/", Reference("a/b")),
        ("a/b:Q8_0", Reference("a/b", quant="Q8_0")),
        ("a/b:UD-Q4_K_XL@v1", Reference("a/b", "v1", quant="UD-Q4_K_XL")),
        (f"a/b@{COMMIT}", Reference("a/b", COMMIT)),
        ("a/b@refs/pr/1", Reference("a/b", "refs/pr/1")),
        ("a/b/c d/e.gguf@main", Reference("a/b", "main", "c d/e.gguf")),
        (f"{HUB}/a/b", Reference("a/b")),
        ("hf.co/a/b:Q8_0", Reference("a/b", quant="Q8_0")),
        (f"{HUB}/a/b/tree/main", Reference("a/b", "main")),
        (f"{HUB}/a/b/blob/{COMMIT}/c/d.gguf", Reference("a/b", COMMIT, "c/d.gguf")),
        (f"{HUB}/a/b/resolve/refs%2Fpr%2F1/c%20d.gguf?download=true", Reference("a/b", "refs/pr/1", "c d.gguf")),
    ],
)
def test_what_may_be_written(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a/", "expected OWNER/NAME"),
        ("/etc/passwd", "expected OWNER/NAME"),
        ("../x/y.gguf", "expected OWNER/NAME"),
        ("a/b/../../c.gguf", "no path"),
        ("a/b/c.safetensors", "no path of a .gguf file"),
        ("a/b:", "no quantization"),
        ("a/b@", "no revision"),
        ("https://example.org/a/b/blob/main/c.gguf", "HF_ENDPOINT"),
        ("ftp://huggingface.co/a/b", "HF_ENDPOINT"),
        (f"{HUB}/a", "expected /OWNER/NAME"),
        (f"{HUB}/a/b/discussions/1", "expected /OWNER/NAME/blob"),
        (f"{HUB}/a/b/resolve/main/..%2F..%2Fc.gguf", "no path"),
        ("https://[/a/b", "names no model"),
    ],
)
def test_what_may_not(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_reference(text)


def test_a_password_in_a_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_reference("https://me:hf_secret@huggingface.co/a/b")
    assert "hf_secret" not in caught.value.message


def test_the_hub_in_use_is_the_one_whose_urls_are_taken() -> None:
    mine = "http://127.0.0.1:8080"
    assert parse_reference(f"{mine}/a/b", mine) == Reference("a/b")
    with pytest.raises(ConfigError, match=mine):
        parse_reference(f"{HUB}/a/b", mine)


@given(st.text(max_size=40) | st.from_regex(r"(https://huggingface\.co/)?[\w.%~ -]+(/[\w.%~ -]+){1,5}(@[\w/.]+)?"))
@example("@/")
def test_nothing_gets_out_of_its_folder(text: str) -> None:
    try:
        reference = parse_reference(text)
    except ConfigError:
        return
    if reference is not None:
        owner, name = reference.repo.split("/")
        assert {owner, name}.isdisjoint({"", ".", ".."})
        assert not reference.file or is_model_path(reference.file)
        assert all(part not in ("", ".", "..") for part in reference.file.split("/")) or not reference.file


def test_a_revision_by_option() -> None:
    assert at_revision(Reference("a/b"), "v1") == Reference("a/b", "v1")
    with pytest.raises(ConfigError, match="two revisions"):
        at_revision(Reference("a/b", "main"), "v1")
    with pytest.raises(ConfigError, match="no revision"):
        at_revision(Reference("a/b"), "--x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", ["m-Q4_K_M.gguf"]),
        ("a/b:q4_k_s", ["m-Q4_K_S.gguf"]),
        ("a/b:Q8_0", ["m-UD-Q8_0.gguf"]),
        ("a/b:q5_0", ["m.Q5_0.gguf"]),
        ("a/b:F16", ["big/m-F16-00001-of-00002.gguf", "big/m-F16-00002-of-00002.gguf"]),
        ("a/b/m-Q4_K_S.gguf", ["m-Q4_K_S.gguf"]),
        ("a/b/mmproj-m-Q4_K_M.gguf", ["mmproj-m-Q4_K_M.gguf"]),
        ("a/b/big/m-F16-00002-of-00002.gguf", ["big/m-F16-00001-of-00002.gguf", "big/m-F16-00002-of-00002.gguf"]),
    ],
)
def test_the_files_that_are_meant(text: str, expected: list[str]) -> None:
    assert chosen(text) == expected


def test_the_only_model_needs_no_name() -> None:
    assert chosen("a/b", "README.md", "m-Q8_0.gguf", "mmproj-m.gguf") == ["m-Q8_0.gguf"]


@pytest.mark.parametrize(
    ("text", "paths", "said"),
    [
        ("a/b", ("README.md",), "a/b has no GGUF model"),
        ("a/b", ("m-Q8_0.gguf", "m-F16.gguf"), "a/b has no Q4_K_M; .*: m-F16.gguf, m-Q8_0.gguf"),
        ("a/b:Q2_K", ("m-Q8_0.gguf",), "a/b has no Q2_K; .*: m-Q8_0.gguf"),
        ("a/b:K_M", ("m-Q4_K_M.gguf",), "a/b has no K_M"),
        ("a/b:Q8_0", ("m-Q8_0.gguf", "n-Q8_0.gguf"), "several of Q8_0; .*: m-Q8_0.gguf, n-Q8_0.gguf"),
        ("a/b/x.gguf", ("m.gguf",), "a/b has no x.gguf; there are: m.gguf"),
        ("a/b", ("m-Q4_K_M-00002-of-00002.gguf",), "not all parts .*missing: m-Q4_K_M-00001-of-00002.gguf"),
        (
            "a/b",
            ("m-Q4_K_M-00001-of-00001.gguf", "m-Q4_K_M-00002-of-00001.gguf"),
            "missing: none, but there are others",
        ),
    ],
)
def test_none_several_or_a_part_missing(text: str, paths: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        chosen(text, *paths)


@given(st.lists(st.sampled_from(FILES), unique=True), st.sampled_from(["", "Q4_K_M", "q8_0", "F16", "Q5_0"]))
def test_a_choice_is_one_model_of_what_is_there(paths: list[str], quant: str) -> None:
    try:
        found = [file.path for file in choose(files(*paths), Reference("a/b", quant=quant))]
    except ConfigError:
        return
    assert found == sorted(found)
    assert set(found) <= set(paths)
    assert len(found) == (2 if "-of-" in found[0] else 1)
    assert (quant or found[0]).lower() in found[0].lower()
