"""What files define, read by tree-sitter: the part of benches/claims_oracle.py that knows grammars.

``names`` is what a developer would say that the file defines (functions, types, macros, constants, methods),
``also`` what it declares beside that (fields, members of enumerations, namespaces), ``members`` both with the type
that they belong to. Where the grammar met something that it does not know, ``broken`` says so: what it did not find in
such a file it cannot deny.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_c
import tree_sitter_cpp
import tree_sitter_go
import tree_sitter_java
import tree_sitter_javascript
import tree_sitter_python
import tree_sitter_rust
import tree_sitter_typescript

PYTHON, SCRIPT, RUST, GO, JAVA, C = "Python", "JavaScript, TypeScript", "Rust", "Go", "Java", "C, C++"
LANGUAGES = {
    ".py": PYTHON, ".pyi": PYTHON, ".js": SCRIPT, ".mjs": SCRIPT, ".cjs": SCRIPT, ".ts": SCRIPT, ".tsx": SCRIPT,
    ".rs": RUST, ".go": GO, ".java": JAVA,
    ".c": C, ".h": C, ".cc": C, ".cpp": C, ".cxx": C, ".hpp": C,
}  # fmt: skip
GRAMMARS = {
    ".py": tree_sitter_python.language, ".pyi": tree_sitter_python.language, ".rs": tree_sitter_rust.language,
    ".go": tree_sitter_go.language, ".js": tree_sitter_javascript.language, ".mjs": tree_sitter_javascript.language,
    ".cjs": tree_sitter_javascript.language, ".ts": tree_sitter_typescript.language_typescript,
    ".tsx": tree_sitter_typescript.language_tsx, ".java": tree_sitter_java.language, ".c": tree_sitter_c.language,
    ".h": tree_sitter_cpp.language, ".cc": tree_sitter_cpp.language, ".cpp": tree_sitter_cpp.language,
    ".cxx": tree_sitter_cpp.language, ".hpp": tree_sitter_cpp.language,
}  # fmt: skip
NAMED = {
    "function_definition", "class_definition", "function_item", "struct_item", "enum_item", "union_item", "trait_item",
    "type_item", "mod_item", "const_item", "static_item", "macro_definition", "function_signature_item",
    "function_declaration", "method_declaration", "type_spec", "type_alias", "const_spec", "var_spec",
    "class_declaration", "method_definition", "generator_function_declaration", "function_expression",
    "interface_declaration", "enum_declaration", "type_alias_declaration", "abstract_class_declaration",
    "internal_module", "module", "associated_type", "record_declaration", "annotation_type_declaration",
    "constructor_declaration", "preproc_def", "preproc_function_def", "alias_declaration", "class",
}  # fmt: skip
BODIED = {"struct_specifier", "class_specifier", "union_specifier", "enum_specifier"}
ALSO = {
    "enum_constant", "enumerator", "enum_variant", "property_signature", "method_signature", "method_elem",
    "enum_assignment", "namespace_definition", "annotation_type_element_declaration", "public_field_definition",
    "field_definition", "field_declaration", "function_signature",
}  # fmt: skip
OWNERS = {
    "class_declaration", "class_specifier", "struct_specifier", "interface_declaration", "enum_declaration",
    "record_declaration", "abstract_class_declaration", "annotation_type_declaration", "trait_item", "class",
    "enum_item", "union_specifier", "class_definition",
}  # fmt: skip
DECLARING = {"function_definition", "declaration", "field_declaration", "type_definition"}
VALUED = {"const_item", "static_item", "const_spec", "var_spec", "preproc_def", "enumerator"}
FUNCTIONS = {"arrow_function", "function_expression"}
CLOSED = {
    "function_definition", "function_item", "function_declaration", "method_definition", "method_declaration",
    "constructor_declaration", "arrow_function", "function_expression", "func_literal", "statement_block", "lambda",
    "compound_statement", "generator_function_declaration",
}  # fmt: skip
EXPORTS = re.compile(
    r"\b(?!define\b)[A-Z][A-Z0-9_]*(?:API|EXTERN|EXPORT|INLINE|CONSTEXPR|NODISCARD|DEPRECATED|NORETURN)[A-Z0-9_]*\b(?!\s*\()"
)
"""Macros that stand before a declaration and mean nothing to whoever reads what it declares."""


@dataclass(slots=True)
class Parsed:
    names: set[str] = field(default_factory=set)
    also: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    values: dict[str, set[str]] = field(default_factory=dict)
    literals: list[tuple[str, str]] = field(default_factory=list)
    """Constants on one line, as written."""
    broken: bool = False

    def add(self, name: str, owner: str, *, also: bool = False) -> None:
        (self.also if also else self.names).add(name)
        if owner and owner != name:
            self.members.add(f"{owner}.{name}")

    def value(self, name: str, told: str, *, literal: bool = True) -> None:
        told = told.strip()
        self.values.setdefault(name, set()).add(told)
        if literal and "\n" not in told and 0 < len(told) < 60:
            self.literals.append((name, told))


@cache
def _parser(ending: str) -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(GRAMMARS[ending]()))


def said(node: Any) -> str:
    return str(node.text.decode("utf-8", "replace"))


def by_grammar(path: str, text: str) -> Parsed:
    ending = Path(path).suffix
    if LANGUAGES[ending] == C:
        text = "\n".join(
            line if line.lstrip().startswith("#") else EXPORTS.sub(lambda one: " " * len(one.group()), line)
            for line in text.split("\n")
        )
    root = _parser(ending).parse(text.encode()).root_node
    parsed = Parsed(broken=root.has_error)
    stack = [(root, True, "")]
    while stack:
        node, top, owner = stack.pop()
        _read(parsed, node, owner, ending, top=top)
        inner = (
            top and node.type not in CLOSED and not (node.type == "block" and ending not in {".py", ".pyi"})
        )
        mine = _owner(node, owner)
        stack += [(child, inner, mine) for child in node.children]
    return parsed


def _owner(node: Any, owner: str) -> str:
    """The type to which what stands directly below a node belongs."""
    if node.type == "impl_item":
        return _type_word(node.child_by_field_name("type"))
    name = node.child_by_field_name("name")
    if node.type in OWNERS and name is not None:
        return said(name)
    if node.type == "variable_declarator" and name is not None:
        value = node.child_by_field_name("value")
        return said(name) if value is not None and value.type in {"object", "class"} else owner
    return "" if node.type in CLOSED else owner


def _type_word(node: Any) -> str:
    words = re.findall(r"[A-Za-z_]\w*", said(node).split("<")[0].split("[")[0]) if node is not None else []
    return words[-1] if words else ""


def _read(parsed: Parsed, node: Any, owner: str, ending: str, *, top: bool) -> None:
    kind, name = node.type, node.child_by_field_name("name")
    if LANGUAGES[ending] == C and kind in DECLARING:
        if top:
            _declared(parsed, node, owner)
    elif kind in BODIED:
        if name is not None and node.child_by_field_name("body") is not None:
            parsed.add(said(name).rsplit("::", 1)[-1], owner)
    elif kind == "method_declaration" and ending == ".go":
        receiver = said(node.child_by_field_name("receiver")).strip("()").split("[")[0]
        parsed.add(said(name), re.findall(r"\w+", receiver)[-1])
    elif kind == "field_declaration" and ending == ".java":
        for one in node.children_by_field_name("declarator"):
            _variable(parsed, one, owner, final="final" in said(node).split("=")[0])
    elif name is not None and kind in NAMED and (top or kind not in {"const_spec", "var_spec"}):
        for one in node.children_by_field_name("name"):
            parsed.add(said(one).lstrip("#").strip("'\""), owner)
    elif name is not None and kind in ALSO:
        value = node.child_by_field_name("value")
        parsed.add(said(name).strip("'\""), owner, also=value is None or value.type not in FUNCTIONS)
    value = node.child_by_field_name("value") if kind in VALUED else None
    if value is not None and (top or kind not in {"const_spec", "var_spec"}):
        for one in node.children_by_field_name("name"):
            parsed.value(said(one), said(value), literal=kind != "enumerator")
    if LANGUAGES[ending] == SCRIPT:
        _script(parsed, node, owner, top=top)
    if (
        ending in {".py", ".pyi"}
        and kind == "assignment"
        and top
        and (left := node.child_by_field_name("left"))
    ):
        for one in re.findall(r"\w+", said(left)):
            parsed.add(one, owner)


def _variable(parsed: Parsed, node: Any, owner: str, *, final: bool) -> None:
    """Java: a field; what is final and has a value is a constant."""
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    parsed.add(said(name), owner, also=not (final and value is not None))
    if value is not None:
        parsed.value(said(name), said(value), literal=final)


def _script(parsed: Parsed, node: Any, owner: str, *, top: bool) -> None:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if node.type == "variable_declarator" and name is not None and name.type == "identifier":
        if top or (value is not None and value.type in FUNCTIONS):
            parsed.add(said(name), "")
        if top and value is not None:
            parsed.value(said(name), said(value))
    elif node.type == "assignment_expression":
        left = node.child_by_field_name("left")
        if left is not None and left.type == "member_expression":
            parts = [one for one in re.findall(r"[\w$]+", said(left)) if one != "prototype"]
            parsed.add(parts[-1], parts[-2] if len(parts) > 1 else "")
    elif node.type == "pair":
        key = node.child_by_field_name("key")
        if key is not None and value is not None and value.type in FUNCTIONS:
            parsed.add(said(key).strip("'\""), owner)


def _declared(parsed: Parsed, node: Any, owner: str) -> None:
    """C and C++: functions, prototypes, type names, variables and fields, each behind its own decoration."""
    default = node.child_by_field_name("default_value")
    for one in node.children_by_field_name("declarator"):
        value = one.child_by_field_name("value") if one.type == "init_declarator" else default
        function, inner = False, one
        while inner is not None and inner.type not in {
            "identifier", "field_identifier", "type_identifier", "qualified_identifier", "operator_name",
            "destructor_name",
        }:  # fmt: skip
            function = function or inner.type == "function_declarator"
            below = inner.child_by_field_name("declarator")
            inner = below or next(
                (c for c in inner.children if "declarator" in c.type or "identifier" in c.type), None
            )
        if inner is None or inner.type in {"operator_name", "destructor_name"}:
            continue
        *owners, last = re.split(r"::", re.sub(r"<[^<>]*>", "", said(inner)))
        if not re.fullmatch(r"\w+", last):
            continue
        plain = not function and node.type in {"field_declaration", "declaration"} and value is None
        parsed.add(last, owners[-1].strip() if owners else owner, also=plain)
        if value is not None and not function:
            const = re.search(r"\bconst(?:expr|init)?\b", said(node).split("=")[0]) is not None
            parsed.value(last, said(value), literal=const)
