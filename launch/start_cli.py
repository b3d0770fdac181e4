"""The commands of a first hour: new, doctor."""

from __future__ import annotations

import shlex
import sys

from launch.commands import Doctor, New
from launch.loading import console, plain, print_json

COLOURS = {"fine": "green", "note": "yellow", "problem": "bold red"}


def new(chosen: New) -> int:
    from launch import starter
    from launch.sweep import SweepError

    given = {name: value for name in (*starter.FIRST, "mirror", "store") if (value := getattr(chosen, name))}
    given["name"] = chosen.out.stem
    screen = console()
    if chosen.out.exists():
        raise SweepError(f"{chosen.out}: is there already and is not overwritten; name another file")
    if chosen.ask and sys.stdin.isatty():
        given = starter.ask(given, screen)
    sweep = starter.starter(given)
    try:
        with chosen.out.open("x", encoding="utf-8") as file:
            file.write(starter.text(sweep, f"retain check {shlex.quote(str(chosen.out))}"))
    except OSError as error:
        raise SweepError(f"{chosen.out}: cannot be written: {error.strerror}") from error
    grid = " × ".join(f"{len(getattr(sweep, name))} {name}" for name in starter.FIRST)
    screen.print(f"wrote    {plain(str(chosen.out))}: {grid}", soft_wrap=True)
    steps = ("fetch", "check", "plan", "run", "report") if sweep.mirror else ("check", "plan", "run", "report")
    for step in steps:
        screen.print(f"next     retain {step} {plain(shlex.quote(str(chosen.out)))}", soft_wrap=True)
    return 0


def doctor(chosen: Doctor) -> int:
    from launch.doctor import examine

    screen = console()
    findings = []
    for one in examine(chosen.store):
        findings.append(one)
        if not chosen.json:
            colour = COLOURS[one.verdict]
            screen.print(f"[{colour}]{one.verdict:<8}[/] {one.subject:<11} {plain(one.found)}", soft_wrap=True)
            if one.advice:
                screen.print(f"{'':<20} → {plain(one.advice)}", soft_wrap=True)
    if chosen.json:
        print_json(findings)
    return int(any(one.verdict == "problem" for one in findings))
