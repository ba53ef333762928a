"""`audit completion`: the script by which a shell completes command lines; and the answers that the script asks for."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.cli.completing import Candidate

VARIABLE = "_AUDIT_COMPLETE"
"""Says that a shell asks, and which one."""

_BASH = r"""_audit_completion() {
    local IFS=$'\n'
    COMPREPLY=($(_AUDIT_COMPLETE=complete_bash COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" \
        COMP_WORDBREAKS="$COMP_WORDBREAKS" "$1" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:/=] ]] && compopt -o nospace
    return 0
}
complete -o default -F _audit_completion audit
"""
_ZSH = r"""#compdef audit
_audit() {
    local line word help
    local -a words_found texts open_words open_texts
    while IFS=$'\t' read -r word help; do
        if [[ $word == *[:/=] ]]; then
            open_words+=("$word"); open_texts+=("$word${help:+  -- $help}")
        else
            words_found+=("$word"); texts+=("$word${help:+  -- $help}")
        fi
    done < <(_AUDIT_COMPLETE=complete_zsh "${words[1]}" "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    if (( ! ${#words_found} && ! ${#open_words} )); then
        _files
        return
    fi
    (( ${#words_found} )) && compadd -l -d texts -a words_found
    (( ${#open_words} )) && compadd -l -S '' -d open_texts -a open_words
    return 0
}
if [[ $funcstack[1] == _audit ]]; then _audit "$@"; else compdef _audit audit; fi
"""
_FISH = r"""function __audit_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct | string collect --allow-empty)
    set -l found (_AUDIT_COMPLETE=complete_fish command $words[1] $words[2..-1] $current 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command audit --no-files --arguments '(__audit_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(
    app: AppContext,
    shell: Annotated[
        str | None, typer.Argument(metavar="bash|zsh|fish", help="Your shell; else that of $SHELL.")
    ] = None,
) -> None:
    """Print the script by which your shell completes commands, options, profiles, tables, columns and marks.

    Examples:
      audit completion zsh > "${fpath[1]}/_audit"
      audit completion fish > ~/.config/fish/completions/audit.fish
      eval "$(audit completion bash)"                                  in ~/.bashrc
    """
    name = shell or os.environ.get("SHELL", "").rpartition("/")[2]
    if name not in _SCRIPTS:
        raise UsageError(f"no completion for {name!r}" if name else "no shell was named", hint="bash, zsh or fish")
    app.out.text(_SCRIPTS[name])


def answer(environ: Mapping[str, str], words: Sequence[str]) -> None:
    """Print what may stand at the end of the command line that a shell asks about, a candidate a line."""
    from auditcli.cli.completing import candidates
    from auditcli.cli.program import command_tree

    shell = environ[VARIABLE].removeprefix("complete_")
    line = _bash_words(environ) if shell == "bash" else list(words) or [""]
    before, word = line[:-1], line[-1]
    found = candidates(command_tree(before), before, word)
    if shell == "bash":
        inserted = len(word) - len(_last_piece(word, environ.get("COMP_WORDBREAKS", "")))
        lines = [_escaped(each.word[inserted:]) for each in found]
    else:
        lines = [_described(each) for each in found]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _bash_words(environ: Mapping[str, str]) -> list[str]:
    """The words up to the cursor without the program's name, the unfinished one last."""
    text = environ.get("COMP_LINE", "")[: int(environ.get("COMP_POINT", "0"))]
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(text + closing)
        except ValueError:
            continue
        is_between = not closing and text[-1:].isspace() and text[-2:-1] != "\\"
        return [*words[1:], *([""] if is_between or len(words) < 2 else [])]
    return [""]


def _last_piece(word: str, breaks: str) -> str:
    """What bash takes for the unfinished word: it cuts words at signs that stand inside of ours."""
    signs = "".join(sign for sign in breaks if not sign.isspace() and sign not in "\"'")
    return re.split(f"[{re.escape(signs)}]", word)[-1] if signs else word


def _escaped(text: str) -> str:
    return re.sub(r"([^\w@%+=:,./*-])", r"\\\1", text)


def _described(candidate: Candidate) -> str:
    return f"{candidate.word}\t{candidate.help}" if candidate.help else candidate.word
