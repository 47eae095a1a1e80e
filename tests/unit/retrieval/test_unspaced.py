"""Writing without spaces between words is found by its words."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from retain.retrieval.filters import NOTHING
from retain.retrieval.lexical import text_query

SENTENCES = {
    "chinese": ("修复了登录页面的会话超时错误", ["会话超时", "登录", "超时错误", "页"]),
    "chinese mixed": ("用户在checkout时遇到TypeError异常", ["checkout", "异常", "TypeError", "用户"]),
    "japanese": (
        "ログイン画面でセッションが切れる不具合を直した",
        ["セッション", "ログイン画面", "不具合", "直"],
    ),
    "korean": ("로그인페이지에서 세션이 만료되는 오류를 고쳤다", ["세션", "로그인", "만료", "오류"]),
    "thai": ("แก้ไขข้อผิดพลาดการหมดเวลาของหน้าเข้าสู่ระบบ", ["หมดเวลา", "ข้อผิดพลาด", "เข้าสู่ระบบ"]),
}
OTHERS = [
    "添加新的支付方式",
    "新しい支払い方法を追加",
    "새로운 결제수단 추가",
    "เพิ่มวิธีการชำระเงินใหม่",
    "add a payment method",
]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(("text", "asked"), SENTENCES.values(), ids=SENTENCES.keys())
def test_a_word_within_a_sentence_finds_it(library: Any, text: str, asked: list[str], form: str) -> None:
    wanted = library.add(text)
    library.add_many([(other, {}) for other in OTHERS])
    for word in asked:
        match = text_query(unicodedata.normalize(form, word), library.reader).match
        best = library.reader.lexical(match, NOTHING, 10)
        assert best, word
        assert best[0].key == wanted, word


def test_a_question_in_other_words_order_finds_its_sentence(library: Any) -> None:
    keys = library.add_many([(text, {}) for text, _ in SENTENCES.values()])
    match = text_query("会话为什么超时了", library.reader).match
    assert library.reader.lexical(match, NOTHING, 10)[0].key == keys[0]


def test_plain_text_is_indexed_as_it_is(library: Any) -> None:
    assert text_query("payment", library.reader).postings == {"payment": 0}
