"""What the tolerant reader takes for a definition, and what it does not."""

from __future__ import annotations

import pytest

from retain.git.manifests import versions_in
from retain.git.source import Source


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("A.java", "class A {\n  @Override public Converter<?, String> made(Type type) {\n  }\n}", "made"),
        ("A.java", "class A {\n  @Test(timeout = 5) public void runs() throws IOException {\n  }\n}", "A.runs"),
        ("A.java", "class A {\n  static <T> void checks(Class<T> one) {\n  }\n}", "checks"),
        ("A.java", "abstract class A {\n  abstract T bridge(List<T> members);\n}", "A.bridge"),
        ("A.java", "class A {\n  private static final Map<String, Class<?>> KINDS =\n    of();\n}", "A.KINDS"),
        ("a.h", "int uv_run(uv_loop_t*, uv_run_mode mode);\n", "uv_run"),
        ("a.h", "decNumber * decPackedToNumber(const uint8_t *, int32_t,\n    int32_t *);\n", "decPackedToNumber"),
        ("a.hpp", "struct A {\n  virtual int size() const = 0;\n};", "A::size"),
        ("a.c", "struct pool\n{\n  int free;\n};", "pool"),
        ("a.rs", "impl<F> X for Stream<F>\nwhere\n    F: C<Out = ()>,\n{\n    fn poll(self) {}\n}", "Stream::poll"),
        ("a.js", "const quote = /['\"`]/g;\nfunction after() {\n}\n", "after"),
        ("a.js", "if (/`/.test(x) && y) {\n}\nconst late = 1;\n", "late"),
    ],
)  # fmt: skip
def test_a_definition_is_found_in_the_shapes_that_a_language_gives_it(
    path: str, text: str, name: str
) -> None:
    assert Source(path, text).line_of(name)


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("a.c", "void f(void) {\n  struct event *one;\n  struct event two;\n}", "event"),
        ("a.c", "int f(void) {\n  return g(1);\n}", "g"),
        ("a.c", "void f(void) {\n  if (x)\n    g(1);\n  else g(2);\n}", "g"),
        ("A.java", "class A {\n  void f() {\n    throw new Problem(1);\n  }\n}", "Problem"),
        ("a.js", "const half = a / b;\nconst other = c / 'late = 1';\n", "late"),
    ],
)  # fmt: skip
def test_what_only_uses_a_name_defines_nothing(path: str, text: str, name: str) -> None:
    assert Source(path, text).line_of(name) == 0


def test_requirements_are_read_in_groups_of_poetry_and_in_parentheses() -> None:
    text = (
        '[project]\ndependencies = ["trove (>=2022.5)", "httpx>=0.2 ; python_version > \'3\'"]\n'
        '[tool.poetry.group.dev.dependencies]\npytest = "^7.2"\n[tool.poetry.dev-dependencies]\nmypy = ">=0.9"\n'
    )
    found = versions_in(Source("pyproject.toml", text))
    assert found == {"trove": {">=2022.5"}, "httpx": {">=0.2"}, "pytest": {"^7.2"}, "mypy": {">=0.9"}}
