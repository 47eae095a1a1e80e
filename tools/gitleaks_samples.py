"""The samples that gitleaks tests its own rules with, written to a fixture that no scanner trips over.

    python tools/gitleaks_samples.py PATH_OF_A_GITLEAKS_CHECKOUT OUT

Needs Go. The generator of gitleaks is run in a copy of the checkout in which its check of a rule prints the
samples instead. Its samples are partly random, so the fixture is made once and kept. The fixture is JSON,
compressed, and encoded in base 85: nothing in it looks like a secret to a scanner.
"""

from __future__ import annotations

import base64
import json
import lzma
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

RULES = "cmd/generate/config/rules"
MODULE = "github.com/zricethezav/gitleaks/v8"
STUBS = {
    "go.mod": f"module {MODULE}\n\ngo 1.24\n",
    "config/config.go": """package config

import (
	"regexp"
	"strings"
)

type AllowlistMatchCondition int

const (
	AllowlistMatchOr AllowlistMatchCondition = iota
	AllowlistMatchAnd
)

type Allowlist struct {
	Description    string
	MatchCondition AllowlistMatchCondition
	Commits        []string
	Paths          []*regexp.Regexp
	RegexTarget    string
	Regexes        []*regexp.Regexp
	StopWords      []string
}

func (a *Allowlist) ContainsStopWord(text string) (bool, string) {
	for _, word := range a.StopWords {
		if strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
			return true, word
		}
	}
	return false, ""
}

type Required struct {
	RuleID        string
	WithinLines   *int
	WithinColumns *int
}

type Rule struct {
	RuleID, Description string
	Entropy             float64
	SecretGroup         int
	Regex, Path         *regexp.Regexp
	Tags, Keywords      []string
	Allowlists          []*Allowlist
	RequiredRules       []*Required
	SkipReport          bool
}
""",
    "cmd/generate/secrets/secrets.go": """package secrets

import (
	"math/rand"
	"regexp/syntax"
)

var random = rand.New(rand.NewSource(20261123))

func NewSecret(expression string) string {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		panic(err)
	}
	return made(parsed)
}

func made(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		total := 0
		for i := 0; i < len(re.Rune); i += 2 {
			total += int(re.Rune[i+1]-re.Rune[i]) + 1
		}
		pick := random.Intn(total)
		for i := 0; i < len(re.Rune); i += 2 {
			size := int(re.Rune[i+1]-re.Rune[i]) + 1
			if pick < size {
				return string(re.Rune[i] + rune(pick))
			}
			pick -= size
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return string(rune('a' + random.Intn(26)))
	case syntax.OpCapture:
		return made(re.Sub[0])
	case syntax.OpAlternate:
		return made(re.Sub[random.Intn(len(re.Sub))])
	case syntax.OpConcat:
		text := ""
		for _, part := range re.Sub {
			text += made(part)
		}
		return text
	case syntax.OpStar:
		return repeated(re, 0, 1)
	case syntax.OpPlus:
		return repeated(re, 1, 1)
	case syntax.OpQuest:
		return repeated(re, 0, 1)
	case syntax.OpRepeat:
		most := re.Max
		if most < re.Min {
			most = re.Min
		}
		return repeated(re, re.Min, most)
	}
	return ""
}

func repeated(re *syntax.Regexp, least int, most int) string {
	text := ""
	for count := least + random.Intn(most-least+1); count > 0; count-- {
		text += made(re.Sub[0])
	}
	return text
}
""",
    "cmd/generate/config/utils/validate.go": f"""package utils

import (
	"encoding/json"
	"fmt"

	"{MODULE}/config"
)

func show(kind string, rule string, samples []string) {{
	for _, sample := range samples {{
		line, _ := json.Marshal([]string{{kind, rule, sample}})
		fmt.Println("SAMPLE " + string(line))
	}}
}}

func Validate(rule config.Rule, truePositives []string, falsePositives []string) *config.Rule {{
	show("positive", rule.RuleID, truePositives)
	show("negative", rule.RuleID, falsePositives)
	return &rule
}}

func values(samples map[string]string) []string {{
	found := make([]string, 0, len(samples))
	for _, sample := range samples {{
		if sample != "" {{
			found = append(found, sample)
		}}
	}}
	return found
}}

func ValidateWithPaths(rule config.Rule, positives map[string]string, negatives map[string]string) *config.Rule {{
	if rule.Regex != nil {{
		show("positive", rule.RuleID, values(positives))
		show("negative", rule.RuleID, values(negatives))
	}}
	return &rule
}}
""",
}
"""What stands in for the parts of gitleaks that need other modules."""
COPIED = (
    "regexp/stdlib_regex.go",
    "cmd/generate/config/utils/generate.go",
    "cmd/generate/config/utils/patterns.go",
)
CALL = re.compile(r"rules\.\w+\(\),")


def lay_out(checkout: Path, copy: Path) -> None:
    """The rules and what they need, around a main that calls each of them."""
    shutil.copytree(checkout / RULES, copy / RULES, ignore=shutil.ignore_patterns("*_test.go", "*.tmpl"))
    for path in COPIED:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout / path, copy / path)
    for path, text in STUBS.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text)
    calls = "\n".join(
        f"\t{call.rstrip(',')}"
        for call in CALL.findall((checkout / "cmd/generate/config/main.go").read_text())
    )
    main_go = f'package main\n\nimport "{MODULE}/{RULES}"\n\nfunc main() {{\n{calls}\n}}\n'
    (copy / "cmd/generate/config/main.go").write_text(main_go)


def main() -> None:
    checkout, out = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as room:
        copy = Path(room) / "gitleaks"
        lay_out(checkout, copy)
        done = subprocess.run(
            ["go", "run", "./cmd/generate/config"],
            cwd=copy, capture_output=True, text=True, check=False,
        )  # fmt: skip
    lines = re.findall(r"^SAMPLE (.*)$", done.stdout, re.MULTILINE)
    if not lines:
        sys.exit(f"no samples; the generator said: {done.stderr[-500:]}")
    samples: dict[str, list[list[str]]] = {"positive": [], "negative": []}
    for kind, rule, text in sorted(map(json.loads, lines)):
        samples[kind].append([rule, text])
    packed = lzma.compress(json.dumps(samples).encode(), preset=9 | lzma.PRESET_EXTREME)
    out.write_text("\n".join(textwrap.wrap(base64.b85encode(packed).decode(), 120)) + "\n")
    print(
        f"{len(samples['positive'])} positives, {len(samples['negative'])} negatives, {out.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()
