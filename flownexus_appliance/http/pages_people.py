"""People who may use the box: who there is, with which role, by which browsers and programs. For admins."""

from typing import Final

from aiohttp import web

from ..access.passwords import MIN_LENGTH
from ..access.roles import Caller, Role
from ..errors import ApplianceError, UsageError, clean
from . import guard, pages_forms, pages_passwords, views_people
from .pages_account import GONE, number_of, session_unknown, token_in
from .pages_forms import Form, Problem
from .pages_frame import render
from .pages_once import ONCE
from .pages_passwords import PasswordGiven
from .ports import PARTS
from .ports_box import Token, User
from .routes import Place, form, page
from .views_people import PersonView, person_url

TAB: Final = "people"
DONE: Final = ("role", "password", "session", "token", "added", "removed")
FIELDS: Final = {
    "user_name_invalid": "name",
    "user_taken": "name",
    "password_weak": "password",
    "password_unlike": "repeat",
    "last_admin": "role",
}


def routes() -> list[Place]:
    return [
        page("/people", show, Role.ADMIN),
        form("/people", add, Role.ADMIN),
        page("/people/{name}", show_person, Role.ADMIN),
        form("/people/{name}/role", change_role, Role.ADMIN),
        form("/people/{name}/password", reset_password, Role.ADMIN),
        page("/people/{name}/remove", ask_remove, Role.ADMIN),
        form("/people/{name}/remove", remove, Role.ADMIN),
        form("/people/{name}/sessions/{id}/end", end_session, Role.ADMIN),
        page("/people/{name}/tokens/{id}/remove", ask_remove_token, Role.ADMIN),
        form("/people/{name}/tokens/{id}/remove", remove_token, Role.ADMIN),
        page("/new-password/{name}", show_password, Role.ADMIN, head=False),  # to look is to take
    ]


async def show(request: web.Request) -> web.Response:
    """Everybody, and the form for one more: ?done= tells what has just been done."""
    return _people(request, done=_done(request))


async def add(request: web.Request) -> web.Response:
    """Add somebody; without a password the box makes one, and tells it once."""
    sent = await pages_forms.read(request)
    role = Role(pages_forms.chosen(sent.text("role"), tuple(Role), "role"))
    password = pages_passwords.given(sent)
    made = password or pages_passwords.make()
    try:
        pages_passwords.check_repeated(sent)
        user = await request.app[PARTS].access.add_user(sent.text("name"), role, made)
    except ApplianceError as error:
        return _people(request, sent, Problem.of(error, FIELDS))
    request[guard.DETAIL] = f"{user.name}, {user.role}"
    if not password:
        return _tell_password(request, PasswordGiven(user.name, True, made))
    return pages_forms.see_other("/people?done=added")


async def show_person(request: web.Request) -> web.Response:
    """One of them: role, password, browsers, programs."""
    return _person(request, _user(request), done=_done(request))


async def change_role(request: web.Request) -> web.Response:
    user, sent = await _meant(request)
    role = Role(pages_forms.chosen(sent.text("role"), tuple(Role), "role"))
    try:
        await request.app[PARTS].access.change_user(user.name, role=role)
    except ApplianceError as error:
        return _person(request, user, Problem.of(error, FIELDS))
    request[guard.DETAIL] = role.value
    if user.name == _caller(request).user and role is not Role.ADMIN:
        return pages_forms.see_other("/account")  # this page is for admins
    return pages_forms.see_other(f"{person_url(user.name)}?done=role")


async def reset_password(request: web.Request) -> web.Response:
    """Give somebody another password: theirs was forgotten, or known to others. Their sessions end."""
    user, sent = await _meant(request)
    if user.name == _caller(request).user:
        raise UsageError("password_own", "that is your own password", "change it on the page of your account")
    password = pages_passwords.given(sent)
    made = password or pages_passwords.make()
    try:
        pages_passwords.check_repeated(sent)
        await request.app[PARTS].access.change_user(user.name, password=made)
    except ApplianceError as error:
        return _person(request, user, Problem.of(error, FIELDS))
    if not password:
        return _tell_password(request, PasswordGiven(user.name, False, made))
    return pages_forms.see_other(f"{person_url(user.name)}?done=password")


async def show_password(request: web.Request) -> web.Response:
    """What was made, this once."""
    given = request.app[ONCE].take(request.match_info["name"])
    if not isinstance(given, PasswordGiven):
        return render(request, "secret_gone.html", tab=TAB, status=GONE, secret=True, back="/people")
    return render(
        request, "password_given.html", tab=TAB, secret=True, given=given, url=person_url(given.user)
    )


async def ask_remove(request: web.Request) -> web.Response:
    """What a removal means, before it is done."""
    return _remove_form(request, _user(request))


async def remove(request: web.Request) -> web.Response:
    user, _ = await _meant(request)
    try:
        await request.app[PARTS].access.remove_user(user.name)
    except ApplianceError as error:
        return _remove_form(request, user, Problem.of(error, {}))
    if user.name == _caller(request).user:
        response = pages_forms.see_other("/sign-in?ended=out")
        guard.end(response)
        return response
    return pages_forms.see_other("/people?done=removed")


async def end_session(request: web.Request) -> web.Response:
    user, _ = await _meant(request)
    access = request.app[PARTS].access
    number = number_of(request)
    if all(one.id != number for one in access.sessions(user.name)):
        raise session_unknown()
    await access.end_session(number)
    return pages_forms.see_other(f"{person_url(user.name)}?done=session")


async def ask_remove_token(request: web.Request) -> web.Response:
    """What a removal means, before it is done."""
    user = _user(request)
    return _remove_token_form(request, user, token_in(request, user.name))


async def remove_token(request: web.Request) -> web.Response:
    user, _ = await _meant(request)
    token = token_in(request, user.name)
    try:
        await request.app[PARTS].access.remove_token(token.id)
    except ApplianceError as error:
        return _remove_token_form(request, user, token, Problem.of(error, {}))
    return pages_forms.see_other(f"{person_url(user.name)}?done=token")


def _caller(request: web.Request) -> Caller:
    caller: Caller = request[guard.CALLER]
    return caller


def _user(request: web.Request) -> User:
    """The person in the address; raises UsageError("user_unknown")."""
    name = request.match_info["name"]
    for user in request.app[PARTS].access.users():
        if user.name == name:
            return user
    raise UsageError("user_unknown", f"there is nobody called {clean(name, 40)}", "see the page of people")


async def _meant(request: web.Request) -> tuple[User, Form]:
    """The person in the address, and what was sent about them."""
    return _user(request), await pages_forms.read(request)


def _done(request: web.Request) -> str:
    done = request.query.get("done", "")
    return done if done in DONE else ""


def _tell_password(request: web.Request, given: PasswordGiven) -> web.Response:
    return pages_forms.see_other(f"/new-password/{request.app[ONCE].put(given)}")


def _people(
    request: web.Request, sent: Form | None = None, problem: Problem | None = None, done: str = ""
) -> web.Response:
    parts = request.app[PARTS]
    return render(
        request,
        "people.html",
        tab=TAB,
        status=200 if problem is None else problem.status,
        secret=True,
        form=sent or Form({"role": Role.VIEWER.value}),
        problem=problem,
        done=done,
        people=views_people.people(parts.access, _caller(request), parts.now_ms()),
        role_notes=views_people.ROLE_NOTES,
        min_length=MIN_LENGTH,
    )


def _person(request: web.Request, user: User, problem: Problem | None = None, done: str = "") -> web.Response:
    return render(
        request,
        "person.html",
        tab=TAB,
        status=200 if problem is None else problem.status,
        secret=True,
        view=_view(request, user),
        problem=problem,
        done=done,
        role_notes=views_people.ROLE_NOTES,
    )


def _view(request: web.Request, user: User) -> PersonView:
    parts = request.app[PARTS]
    return views_people.person(parts.access, user, _caller(request), parts.now_ms())


def _remove_form(request: web.Request, user: User, problem: Problem | None = None) -> web.Response:
    return render(
        request,
        "remove_person.html",
        tab=TAB,
        status=200 if problem is None else problem.status,
        view=_view(request, user),
        problem=problem,
    )


def _remove_token_form(
    request: web.Request, user: User, token: Token, problem: Problem | None = None
) -> web.Response:
    return render(
        request,
        "remove_token.html",
        tab=TAB,
        status=200 if problem is None else problem.status,
        token=token,
        problem=problem,
        url=f"{person_url(user.name)}/tokens/{token.id}/remove",
        back=person_url(user.name),
        back_title=user.name,
    )
