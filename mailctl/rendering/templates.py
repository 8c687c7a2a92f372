"""Renders templates: files for the HTML and the plain text of an email."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    UndefinedError,
    meta,
    nodes,
)

from mailctl.domain import validation
from mailctl.errors import InvalidInput, RenderError, suggest_name
from mailctl.rendering.html_text import html_to_text
from mailctl.rendering.sandbox import OptionalUndefined, Sandbox, TemplateLimitExceeded, time_limit
from mailctl.rendering.template_cache import TemplateCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailctl.domain.models import Json

#: The longest HTML body in octets; Gmail cuts messages off at about 102,000.
MAX_HTML = 90_000
#: The longest body in characters.
MAX_BODY = 200_000
#: The width of plain text in characters (RFC 5322 section 2.1.1 recommends at most 78).
TEXT_WIDTH = 72

#: Filters and tests by which a template provides for a missing variable.
_GUARDS = frozenset({"default", "d", "defined", "undefined"})
_MISSING_VARIABLE = re.compile(r"'(\w+)' is undefined")
_FIX = "Correct the template or its variables."


@dataclass(frozen=True, kw_only=True)
class RenderedBodies:
    """The two bodies of an email."""

    html: str
    text: str


class Templates:
    """The templates, the service's own before the built-in ones: NAME.html, and NAME.txt for the plain text.

    Without NAME.txt, the plain text of an own template is made from its HTML. Own templates may build on the
    built-in ones; these never use files of the service. Files are listed and compiled once.

    Args:
        folder: the folder of the service's own templates, which must exist; None if there is none.
    """

    def __init__(self, folder: Path | None) -> None:
        own = [FileSystemLoader(folder)] if folder is not None else []
        loaders = [*own, PackageLoader("mailctl")]
        self._files_by_loader = [loader.list_templates() for loader in loaders]
        self._own_files = frozenset(self._files_by_loader[0]) if own else frozenset()
        #: The built-in templates, which need no sandbox: it costs time.
        self._built_in = Templates(None) if own else self
        self._loader = ChoiceLoader(loaders)
        self._environment = (Sandbox if own else Environment)(
            loader=self._loader,
            undefined=OptionalUndefined if own else StrictUndefined,
            autoescape=lambda name: name is not None and name.endswith(".html"),
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        # The cache only works for templates that do not compute with placeholders.
        self._cache = None if own else TemplateCache(self._render, wrap=_wrap_paragraph)
        self._environment.filters["paragraph"] = (
            self._cache.format_paragraph if self._cache else _wrap_paragraph
        )
        #: Names that strangers chose, such as of an inviter; "" if they contain a link, an address or markup.
        self._environment.filters["name"] = validation.safe_greeting_name

    def is_own(self, name: str) -> bool:
        """Whether the service's own folder has a file of a template."""
        return not self._own_files.isdisjoint(_files_of(name))

    def names(self) -> list[str]:
        """Return the names with at least one file, those of the service's own folder first."""
        found: dict[str, None] = {}
        for file in (file for place in self._files_by_loader for file in sorted(place)):
            stem, _, ending = file.rpartition(".")
            with suppress(InvalidInput):
                if ending in ("html", "txt"):
                    found[validation.validate_template_name(stem)] = None
        return list(found)

    def _is_built_in(self, name: str) -> bool:
        """Whether other templates than these, the built-in ones, have a name."""
        return self._built_in is not self and not self.is_own(name) and name in self._built_in.names()

    def render(self, name: str, context: Mapping[str, Json]) -> RenderedBodies:
        """Return both bodies of an email.

        Args:
            name: the name of the template, without extension.
            context: the variables, which must include all that the template prints.

        Raises:
            RenderError: a file is missing or wrong, a variable is missing, or a body is too long.
        """
        if self._is_built_in(name):
            return self._built_in.render(name, context)
        files = self._files(name)
        if self._cache:
            html, text = self._cache.render(files, context)
        else:
            html, *texts = (self._render(file, context) for file in files)
            text = texts[0] if texts else html_to_text(html) + "\n"
        size = len(html.encode("utf-8", "replace"))
        if size > MAX_HTML:
            raise RenderError(
                f"{name}.html: the email would have {size} bytes of HTML, and mail clients would cut it off.",
                fix=f"Shorten it to {MAX_HTML} bytes.",
            )
        return RenderedBodies(html=html, text=text)

    def render_built_in(self, name: str, context: Mapping[str, Json]) -> RenderedBodies:
        """Return both bodies of an email with a built-in template; raises what `render` raises."""
        return self._built_in.render(name, context)

    def has_text_file(self, name: str) -> bool:
        """Whether a template has a file of its own for the plain text; raises what `check` raises."""
        return len(self._files(name)) > 1

    def check(self, name: str) -> None:
        """Compile the files and every template that they refer to.

        Raises:
            RenderError: a file is missing or wrong; the message names file and line.
        """
        if self._is_built_in(name):
            self._built_in.check(name)
            return
        to_check, checked = list(self._files(name)), set[str]()
        while to_check:
            file = to_check.pop()
            checked.add(file)
            to_check += [other for other in self._compile(file) if other not in checked]

    def variables(self, name: str, *, with_optional: bool = True) -> set[str]:
        """Return the variables that the files and every template that they refer to use.

        Args:
            name: the name of the template.
            with_optional: whether to include variables that may be missing, because a template uses the
                filter `default` or the test `defined` for them.

        Raises:
            RenderError: as for `check`.
        """
        self.check(name)
        to_read, read, found, optional = list(self._files(name)), set[str](), set[str](), set[str]()
        while to_read:
            file = to_read.pop()
            read.add(file)
            source, _, _ = self._loader.get_source(self._environment, file)
            parsed = self._environment.parse(source)
            found |= meta.find_undeclared_variables(parsed) - _defined_in(parsed)
            optional |= _optional_in(parsed)
            to_read += [each for each in meta.find_referenced_templates(parsed) if each and each not in read]
        return found - self._environment.globals.keys() - (set() if with_optional else optional)

    def _files(self, name: str) -> list[str]:
        """Return the HTML file of a template and, if it has one in the same folder, its text file."""
        html, text = _files_of(name)
        for place in self._files_by_loader:
            if html in place:
                return [html, text] if text in place else [html]
            if text in place:
                raise RenderError(f"{text} has no {html} to go with it.", fix=f"Add {html} beside {text}.")
        raise RenderError(f"There is no template {name!r}.", fix=suggest_name(name, self.names()))

    def _render(self, file: str, context: Mapping[str, Json]) -> str:
        pieces, size = [], 0
        with _as_render_error(file), time_limit():
            for piece in self._environment.get_template(file).generate(context):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_BODY:
                    raise TemplateLimitExceeded(f"it produces more than {MAX_BODY} characters")
        return "".join(pieces)

    def _compile(self, file: str) -> set[str]:
        """Compile a file, and return the names of the files that it refers to."""
        with _as_render_error(file):
            self._environment.get_template(file)
            source, _, _ = self._loader.get_source(self._environment, file)
            references = set(filter(None, meta.find_referenced_templates(self._environment.parse(source))))
        missing = references.difference(*self._files_by_loader)
        if missing:
            raise RenderError(
                f"{file} refers to {min(missing)}, which does not exist.", fix="Correct the template."
            )
        return references


def _files_of(name: str) -> tuple[str, str]:
    return f"{name}.html", f"{name}.txt"


def _defined_in(parsed: nodes.Template) -> set[str]:
    """Return the names that a template imports."""
    imported = {
        name[1] if isinstance(name, tuple) else name
        for statement in parsed.find_all(nodes.FromImport)
        for name in statement.names
    }
    return imported | {statement.target for statement in parsed.find_all(nodes.Import)}


def _optional_in(parsed: nodes.Template) -> set[str]:
    """Return the names of the variables that a template tests for being defined, or gives a default."""
    guards = parsed.find_all((nodes.Filter, nodes.Test))
    return {
        guard.node.name for guard in guards if guard.name in _GUARDS and isinstance(guard.node, nodes.Name)
    }


@lru_cache(maxsize=512)
def _wrap_paragraph(text: str) -> str:
    """Return a text wrapped at spaces, followed by an empty line."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if len(joined) <= TEXT_WIDTH or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return "\n".join(lines) + "\n\n"


@contextmanager
def _as_render_error(file: str) -> Iterator[None]:
    """Report where a template failed, but not its values, which may be tokens or addresses."""
    try:
        yield
    except TemplateSyntaxError as error:
        raise RenderError(
            f"{error.name or file}, line {error.lineno}: {(error.message or '').rstrip('.')}.",
            fix="Correct the template.",
        ) from None
    except Exception as error:
        missing = _missing_variable(error)
        fix = f"Set the variable (--set {missing}=…), or correct the template." if missing else _FIX
        raise RenderError(f"{_error_location(error, file)}: {_error_reason(error)}.", fix=fix) from None


def _error_location(error: Exception, file: str) -> str:
    """Return the file, and the file and line of the innermost template."""
    lines = [(Path(frame.f_code.co_filename), line) for frame, line in walk_tb(error.__traceback__)]
    places = [f"{file.name}, line {line}" for file, line in lines if file.suffix in (".html", ".txt")]
    if not places:
        return file
    return places[-1] if places[-1].startswith(f"{file}, ") else f"{file} ({places[-1]})"


def _missing_variable(error: Exception) -> str:
    """Return the name of the variable that a template lacks; "" if the error has another reason."""
    found = _MISSING_VARIABLE.fullmatch(str(error)) if isinstance(error, UndefinedError) else None
    return found[1] if found else ""


def _error_reason(error: Exception) -> str:
    if missing := _missing_variable(error):
        return f"the variable {missing} is missing"
    if isinstance(error, TemplateLimitExceeded):
        return str(error)
    if isinstance(error, TemplateNotFound):
        return "it refers to a template that does not exist"
    return f"it cannot be rendered because of {type(error).__name__}"
