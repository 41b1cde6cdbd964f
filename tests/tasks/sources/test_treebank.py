from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.sources.treebank import of_files, read_trees

Write = Callable[[str, str], Path]

TREES = """# file wsj_0001
( (S
    (NP-SBJ-1 (DT The) (NN fox) )
    (VP (VBD ran)
      (NP (-NONE- *-1) ))
    (. .) ))
( (S (NP (-NONE- *)) ))
(TOP (-LRB- -LRB-) (# #))
# file wsj_0002
((NN end))
"""


def test_leaves_without_traces(write: Write) -> None:
    sentences = read_trees(write("a.mrg", TREES)).sentences
    assert [[(word.text, word.tag) for word in sentence] for sentence in sentences] == [
        [("The", "DT"), ("fox", "NN"), ("ran", "VBD"), (".", ".")],
        [("-LRB-", "-LRB-"), ("#", "#")],
        [("end", "NN")],
    ]
    assert [word.line for word in sentences[0]] == [3, 3, 4, 6]


def test_sentences_of_some_files(write: Write) -> None:
    trees = read_trees(write("a.mrg", TREES))
    assert of_files(trees, {1}).sentences == trees.sentences[:2]
    assert of_files(trees, {2, 3}).sentences == trees.sentences[2:]
    with pytest.raises(TrimformerError, match=r"a\.mrg has no sentences of wsj_0003 to wsj_0004, .* give a folder"):
        of_files(trees, {3, 4})
    bare = read_trees(write("b.mrg", "((NN end))\n"))
    with pytest.raises(TrimformerError, match=r"b\.mrg has no sentences of wsj_0001"):
        of_files(bare, {1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("((NN a))\n((S (NN b))\n((NN c))\n", "line 2 of …, the tree that begins here is never closed"),
        ("((NN a)))\n", "line 1 of …, ')' stands outside of all brackets"),
        ("((NN a))\nb\n", "line 2 of …, 'b' stands outside of all brackets"),
        ("(S (NP (DT the)\n dog))\n", "line 2 of …, the word 'dog' has no tag of its own"),
        ("(NP the dog)\n", "line 1 of …, the word 'dog' has no tag of its own"),
        ("(NP\n the (NN dog))\n", "line 2 of …, the word 'the' has no tag of its own"),
        ("((NN a) b)\n", "line 1 of …, the word 'b' has no tag of its own"),
        ("(S\n(dog))\n", "line 2 of …, the bracket that ends here lacks a word or its tag"),
        ("()\n", "line 1 of …, the bracket that ends here lacks a word or its tag"),
        ("((-NONE- *))\n", "a.mrg holds no tagged words"),
    ],
)
def test_broken_trees(write: Write, text: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=like(message)):
        read_trees(write("a.mrg", text))
