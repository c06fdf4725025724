"""Signing in and out."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from mailculator.web.admin import access, answers
from mailculator.web.admin.access import Access, Session
from mailculator.web.admin.asking import NAME_LIMIT, Call
from mailculator.web.admin.desk import Desk

TOKEN_LIMIT = 1000


class Signing:
    """The calls about a session.

    Arguments:
        addresses_shown: whether mail addresses are shown in full.
    """

    def __init__(self, access: Access, desk: Desk, *, addresses_shown: bool) -> None:
        self._access = access
        self._desk = desk
        self._addresses_shown = addresses_shown

    async def look(self, call: Call) -> web.StreamResponse:
        """GET /api/session"""
        return answers.json(self._document(self._access.session(call.request)))

    async def sign_in(self, call: Call) -> web.StreamResponse:
        """POST /api/session"""
        body = await call.body()
        body.expect("name", "token")
        name = body.line("name", NAME_LIMIT)
        token = body.text("token", TOKEN_LIMIT) or ""
        before = self._access.session(call.request)
        session = self._access.sign_in(call.request, name, token)
        if before is not None:
            self._access.sign_out(before)
        response = answers.json(self._document(session))
        access.cookie(response, call.request, session)
        return response

    async def sign_out(self, call: Call) -> web.StreamResponse:
        """DELETE /api/session"""
        session = self._access.session(call.request)
        if session is not None:
            self._access.check_csrf(call.request, session)
            self._access.sign_out(session)
        response = answers.empty()
        access.forget_cookie(response)
        return response

    def _document(self, session: Session | None) -> dict[str, Any]:
        return {
            "signed_in": session is not None,
            "token_needed": self._access.token_needed,
            "name": None if session is None else session.name,
            "csrf": None if session is None else session.csrf,
            "addresses_shown": self._addresses_shown,
            "version": self._desk.version,
            "replica": self._desk.replica,
        }
