"""Test runners: a program is right if no test fails, however the tests are started."""

import pytest

from hogwild_dist.evaluation.graders import passes_known_tests
from hogwild_dist.evaluation.grading import GraderError
from hogwild_dist.evaluation.unit_tests import with_runner

pytestmark = pytest.mark.slow

RIGHT, WRONG = "def cube(n):\n    return n ** 3\n", "def cube(n):\n    return n * 3\n"
EXITS = "import sys\ndef cube(n):\n    sys.exit(0)\n"
CASE = """
import sys, unittest
class CubeTest(unittest.TestCase):
    def test_zero(self):
        self.assertEqual(cube(0), 0)
    def test_two(self):
        self.assertEqual(cube(2), 8)
"""
BARE = "def test_two():\n    assert cube(2) == 8\n"
SUITE = "unittest.defaultTestLoader.loadTestsFromTestCase(CubeTest)"


@pytest.mark.parametrize(
    "tests",
    [
        f"{CASE}unittest.main()",
        f"{CASE}if __name__ == '__main__':\n    unittest.main()",
        f"{CASE}unittest.main(exit=False)",
        f"{CASE}unittest.main(argv=['none'], exit=False, verbosity=2)",
        f"{CASE}sys.exit(not unittest.main(exit=False).result.wasSuccessful())",
        f"{CASE}unittest.TextTestRunner().run({SUITE})",
        f"{CASE}{SUITE}.run(unittest.TestResult())",
        f"{CASE}{SUITE}.debug()",
        f"{CASE}CubeTest('test_two').run()",
        CASE,
        f"{CASE}class MoreTest(CubeTest):\n    pass\n",
        "from unittest import TestCase, main\nclass C(TestCase):\n"
        "    def test_two(self):\n        assert cube(2) == 8\nmain(exit=False)",
        "import unittest\nclass C(unittest.IsolatedAsyncioTestCase):\n"
        "    async def test_two(self):\n        assert cube(2) == 8\nunittest.main()",
        "import unittest\nclass C(unittest.TestCase):\n    def test_all(self):\n"
        "        for n in range(4):\n            with self.subTest(n=n):\n"
        "                self.assertEqual(cube(n), n * n * n)\nunittest.main()",
        "import doctest\ndef g():\n    '''\n    >>> cube(2)\n    8\n    '''\ndoctest.testmod()",
        BARE,
        f"assert cube(0) == 0\n{BARE}",
        f"def test_zero():\n    assert cube(0) == 0\n{BARE}test_zero()\n",
        f"{BARE}for name in [n for n in globals() if n.startswith('test')]:\n    globals()[name]()",
        "class TestCube:\n    def test_two(self):\n        assert cube(2) == 8\n",
        "import sys\nassert cube(2) == 8\nsys.exit(0)",
    ],
)  # fmt: skip
def test_a_runner_is_judged_by_its_tests(tests: str) -> None:
    assert passes_known_tests(RIGHT, tests)
    assert not passes_known_tests(WRONG, tests)
    assert not passes_known_tests(EXITS, tests)


def test_test_cases_of_the_program_do_not_count() -> None:
    own = "import unittest\nclass Own(unittest.TestCase):\n    def test_it(self):\n        1 / 0\n"
    assert passes_known_tests(RIGHT + own, f"{CASE}unittest.main()")


@pytest.mark.parametrize("end", ["sys.exit(1)", "sys.exit('failed')"])
def test_tests_that_exit_with_an_error_fail(end: str) -> None:
    assert not passes_known_tests(RIGHT, f"import sys\nassert cube(2) == 8\n{end}")


def test_a_runner_that_skips_everything_tests_nothing() -> None:
    skipped = CASE.replace("class", "@unittest.skip('no')\nclass")
    assert not passes_known_tests(RIGHT, f"{skipped}unittest.main()")


@pytest.mark.parametrize(
    ("tests", "sentence"),
    [
        ("def test_two(tmp_path):\n    assert cube(2) == 8", "test_two, which only pytest can run"),
        ("async def test_two():\n    assert cube(2) == 8", "call it in the tests"),
        ("@pytest.mark.skip\ndef test_two():\n    pass", "test_two, which only pytest can run"),
        (f"import pytest\n{BARE}pytest.main()", "pytest.main, which is not supported; leave"),
        ("class TestCube:\n    def setup_method(self): ...\n    def test_two(self): ...",
         "TestCube.setup_method, which only pytest calls"),
        ("import unittest\nunittest.main()", "run nothing"),
        ("import unittest\nclass C(unittest.TestCase):\n    pass", "run nothing"),
        ("def helper():\n    pass", "run nothing"),
    ],
)  # fmt: skip
def test_tests_that_cannot_be_run_are_named(tests: str, sentence: str) -> None:
    with pytest.raises(GraderError, match=sentence):
        passes_known_tests(RIGHT, tests)


@pytest.mark.parametrize("tests", [f"{CASE}unittest.main()", f"{BARE}test_two()", "assert cube(2)"])
def test_tests_that_run_are_unchanged(tests: str) -> None:
    assert with_runner(tests) == tests
    assert with_runner(with_runner(BARE)) == with_runner(BARE) != BARE
