"""The states of an email and the changes between them, from the table that the code goes by."""

from __future__ import annotations

from docs.generators.markdown import escape, table
from docs.generators.source import member_comments
from docs.generators.svg import Box, Drawing
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import FINAL_STATES, TRANSITIONS, State

_BOX = 92
_STEP = 124
_LEFT = 130
_RIGHT = 80
#: From the top: in progress, finished, stopped.
_ROWS = (48, 158, 258)


def states() -> str:
    """Return the meaning of each state."""
    comments = member_comments(State)
    rows = (
        [f"`{state}`", escape(comments[state.name]), "yes" if state in FINAL_STATES else ""]
        for state in State
    )
    return table(["state", "meaning", "final"], rows)


def reason_codes() -> str:
    """Return the meaning of each reason code."""
    comments = member_comments(ReasonCode)
    rows = ([f"`{code}`", escape(comments[code.name])] for code in ReasonCode)
    return table(["reason code", "meaning"], rows)


def transitions() -> str:
    """Return which state may follow which."""
    rows = (
        [f"`{state}`", ", ".join(f"`{each}`" for each in State if each in TRANSITIONS[state]) or "none"]
        for state in State
    )
    return table(["from", "to"], rows)


def stopping_states() -> frozenset[State]:
    """Return the states that every email in progress may change to."""
    waiting = (found for state, found in TRANSITIONS.items() if state not in FINAL_STATES | {State.HELD})
    return frozenset.intersection(*waiting)


def state_diagram() -> str:
    """Return the picture: in progress, finished, stopped; what all of a group can do is one arrow."""
    stopped = [state for state in State if state in stopping_states()]
    under_way = [state for state in State if stopping_states() <= TRANSITIONS[state]]
    finished = [state for state in State if state not in (*stopped, *under_way)]
    rows = (under_way, finished, stopped)
    columns = max(len(row) for row in rows)
    right = _LEFT + _STEP * columns
    drawing = Drawing(right + _RIGHT, _ROWS[-1] + 56, "The states of an email")
    boxes = {
        state: Box(str(state), _LEFT + _STEP * (column + (columns - len(row)) / 2) + 16, y, _BOX)
        for y, row in zip(_ROWS, rows, strict=True)
        for column, state in enumerate(row)
    }
    for y, label in ((_ROWS[0], "in progress"), (_ROWS[-1], "stopped")):
        drawing.box(Box("", _LEFT, y - 34, right - _LEFT, 76), note=label, is_dashed=True)
        drawing.text(_LEFT + 8, y - 18, label)
    _draw_common_changes(drawing, right)
    for source, target in _other_changes(under_way, stopped):
        drawing.arrow(_curve(boxes[source], boxes[target]), note=f"{source} to {target}")
    for box in boxes.values():
        drawing.box(box)
    return drawing.html()


def _other_changes(under_way: list[State], stopped: list[State]) -> list[tuple[State, State]]:
    """Return the changes that have an arrow of their own."""
    common = {(source, target) for source in under_way for target in stopped}
    common |= {(source, State.PENDING) for source in stopped}
    every = {(source, target) for source, found in TRANSITIONS.items() for target in found}
    if not common <= every:
        raise ValueError("the picture draws one arrow for changes that not all of a group have")
    return sorted(every - common)


def _draw_common_changes(drawing: Drawing, right: float) -> None:
    top, bottom = _ROWS[0] + 14, _ROWS[-1] + 14
    bend = right + 46
    drawing.arrow(
        f"M{right:g} {top:g}C{bend:g} {top + 60:g} {bend:g} {bottom - 60:g} {right + 2:g} {bottom:g}",
        note="from any of these to any of those",
        opacity=1,
    )
    drawing.text(right + 40, (top + bottom) / 2, "stop")
    bend = _LEFT - 46
    drawing.arrow(
        f"M{_LEFT:g} {bottom:g}C{bend:g} {bottom - 60:g} {bend:g} {top + 60:g} {_LEFT - 2:g} {top:g}",
        note="from any of these to pending",
        opacity=1,
    )
    for line, words in enumerate(("retry or release", "to pending")):
        drawing.text(2, (top + bottom) / 2 + 16 * line, words)


def _curve(start: Box, end: Box) -> str:
    """Return a path between two boxes: over them if they stand in one row and it leads to the right."""
    if start.y == end.y:
        return _curve_in_row(start, end)
    top, bottom = start.y + start.height, end.y
    return (
        f"M{start.middle:g} {top:g}"
        f"C{start.middle:g} {top + 40:g} {end.middle:g} {bottom - 40:g} {end.middle:g} {bottom:g}"
    )


def _curve_in_row(start: Box, end: Box) -> str:
    sign = 1 if end.x > start.x else -1
    y = start.y if sign > 0 else start.y + start.height
    left, right = start.middle + 12 * sign, end.middle - 12 * sign
    bend = y - sign * 22 * min(abs(end.x - start.x) / _STEP, 1.6)
    return f"M{left:g} {y:g}C{left:g} {bend:g} {right:g} {bend:g} {right:g} {y:g}"
