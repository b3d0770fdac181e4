"""The planted faults still fit the code and name tests that exist; that they are caught `make planted` shows."""

from __future__ import annotations

import ast

import pytest

from tests.planted import CHECKOUT, Fault, faults

FEWEST = 30


def test_there_are_many_faults_and_no_two_alike():
    names = [fault.name for fault in faults()]
    assert len(set(names)) == len(names) >= FEWEST


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_a_fault_fits_the_code_and_is_no_mere_mistake_of_syntax(fault: Fault):
    text = (CHECKOUT / fault.file).read_text(encoding="utf-8")
    planted = fault.planted(text)
    if fault.file.endswith(".py"):  # others are templates
        assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(text))
    assert planted != text


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_the_tests_that_are_to_catch_it_exist(fault: Fault):
    assert fault.tests
    for test in fault.tests:
        file, _, function = test.partition("::")
        tree = ast.parse((CHECKOUT / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_a_fault_that_no_longer_fits_is_told():
    fault = Fault("two for one", "some/file.py", "1", "2", ())
    assert fault.planted("a = 1") == "a = 2"
    for text in ("a = 3", "a = 1 + 1"):
        with pytest.raises(ValueError, match=r"“two for one” no longer fits some/file.py"):
            fault.planted(text)
