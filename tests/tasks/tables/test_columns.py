import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.tables.columns import CONLL2003, TOKEN_TAG, read_columns, read_conllu
from trimformer.tasks.tables.tagged import Tagged

Write = Callable[[str, str], Path]


def words(tagged: Tagged) -> list[list[tuple[str, str, int]]]:
    return [[tuple(word) for word in sentence] for sentence in tagged.sentences]  # type: ignore[misc]


def conllu(number: str, form: str, upos: str = "X", xpos: str = "Y") -> str:
    return "\t".join([number, form, "_", upos, xpos, "_", "0", "_", "_", "_"]) + "\n"


def test_conll2003(write: Write) -> None:
    text = "-DOCSTART- -X- O O\n\nU.N. NNP I-NP I-ORG\r\nofficial NN I-NP O\n\n \n"
    text += "# sent id 2\n# two words 2\nat IN O O\n# # I-NP O\n"
    path = write("eng.train", text + "-DOCSTART- -X- -X- O\nx Y Z W")
    first, *rest = words(read_columns(path, CONLL2003, "ner"))
    assert first == [("U.N.", "I-ORG", 3), ("official", "O", 4)]
    assert rest == [[("at", "O", 9), ("#", "O", 10)], [("x", "W", 12)]]
    assert words(read_columns(path, CONLL2003, "chunk"))[0] == [("U.N.", "I-NP", 3), ("official", "I-NP", 4)]


def test_token_tab_tag(tmp_path: Path) -> None:
    """Where there are tabs a word may hold spaces and the number sign; comments have no tab."""
    path = tmp_path / "a.conll.gz"
    path.write_bytes(gzip.compress("# sent wsj_0001.1\n#\t#\n10 000\tCD\n# new\n\nno\u2028break\tNN\n".encode()))
    assert words(read_columns(path, TOKEN_TAG, "tag")) == [
        [("#", "#", 2), ("10 000", "CD", 3)],
        [("no\u2028break", "NN", 6)],
    ]


def test_conllu(write: Write) -> None:
    """Multi-word tokens (1-2) and empty nodes (2.1) are no words."""
    text = (
        "# sent_id = 1\n"
        + conllu("1-2", "don't", "_", "_")
        + conllu("1", "do", "AUX", "VBP")
        + conllu("2", "n't", "PART", "RB")
        + conllu("2.1", "go", "VERB", "VB")
        + "\n# sent_id = 2\n"
        + conllu("1", "#", "SYM", "#")
    )
    path = write("a.conllu", text)
    assert words(read_conllu(path, "upos")) == [[("do", "AUX", 3), ("n't", "PART", 4)], [("#", "SYM", 8)]]
    assert words(read_conllu(path, "xpos"))[0] == [("do", "VBP", 3), ("n't", "RB", 4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a NN O\n", "Line 1 of …a.txt has 3 columns where 4 (token, pos, chunk, ner) are expected: correct this line"),
        ("a NN O O\n\nb\n", "Line 3 of …a.txt has 1 columns where 4"),
        ("a\tNN\tO\tO\nb NN O O\n", "Line 2 of …a.txt has 1 columns where 4"),
        ("-DOCSTART- -X- O O\n\n", "a.txt holds no tagged words"),
        ("", "a.txt holds no tagged words"),
    ],
)
def test_broken_columns(write: Write, text: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=like(message)):
        read_columns(write("a.txt", text), CONLL2003, "ner")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            conllu("1", "a") + "2\tb\tX\n",
            "Line 2 of …a.conllu has 3 columns where 10 (id, form, lemma, upos, xpos",
        ),
        (conllu("1", "a") + conllu("two", "b"), "line 2 of …a.conllu, 'two' is not a word id of CoNLL-U"),
        (conllu("1", "a", "_"), "line 1 of …a.conllu, the word 'a' has no upos tag: add it, or set task.tags: xpos"),
        ("# nothing\n", "a.conllu holds no tagged words"),
    ],
)
def test_broken_conllu(write: Write, text: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=like(message)):
        read_conllu(write("a.conllu", text), "upos")


def test_blanks_around_tags_are_dropped(write: Write) -> None:
    path = write("a.conllu", conllu("1", "a", " NOUN", "NN ") + conllu("2", "b", "X\u00a0"))
    assert words(read_conllu(path, "upos")) == [[("a", "NOUN", 1), ("b", "X", 2)]]
    assert words(read_conllu(path, "xpos"))[0][0] == ("a", "NN", 1)
    path = write("a.txt", "Ann\tNNP\t O \tB-PER\n")
    assert words(read_columns(path, CONLL2003, "chunk")) == [[("Ann", "O", 1)]]
    with pytest.raises(TrimformerError, match="has no upos tag"):
        read_conllu(write("b.conllu", conllu("1", "a", "_ ")), "upos")


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes(b"a O\nna\xefve O\n")
    with pytest.raises(TrimformerError, match=r"a\.conll is not UTF-8 at line 2"):
        read_columns(path, TOKEN_TAG, "tag")
