"""The completion scripts themselves: what the commands are, as a table in the words of bash, zsh and fish.

Each script walks the words before the cursor down to the command they name, and knows from the table what
may come next. The tables are made; what walks over them stands here as it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PROGRAM: Final = "flownexus"
# Names and numbers that the daemon knows: the scripts ask for them.
ASKED: Final = ("devices", "operations", "users", "packages", "updates", "campaigns")


@dataclass(frozen=True, slots=True)
class Place:
    """What may stand somewhere: `words`, one of ASKED, `files`, `folders`, or `any` text."""

    kind: str
    words: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        """In one word, for the tables: the kind, or =a,b,c."""
        return f"={','.join(self.words)}" if self.kind == "words" else self.kind


@dataclass(frozen=True, slots=True)
class Option:
    """An option by all its names; `value` is None for a switch."""

    names: tuple[str, ...]
    help: str
    value: Place | None


@dataclass(frozen=True, slots=True)
class Command:
    """A command by all its words. `repeated`: the last place takes any number of arguments."""

    name: str
    commands: Mapping[str, str]
    options: tuple[Option, ...]
    places: tuple[Place, ...]
    repeated: bool


def bash(commands: Sequence[Command]) -> str:
    """For bash 4.4 or later; needs nothing beside it."""
    script = _BASH.replace("@ASKED@", " | ".join(ASKED))
    return script.replace("@TABLE@", _table(commands, _bash_lists))


def zsh(commands: Sequence[Command]) -> str:
    """For zsh 5, as a file _flownexus in a folder of $fpath, or by `source` after compinit."""
    script = _ZSH.replace("@ASKED@", "|".join(ASKED))
    return script.replace("@TABLE@", _table(commands, _zsh_lists))


def fish(commands: Sequence[Command]) -> str:
    """For fish 3."""
    takers = [
        f"{command.name} {name}"
        for command in commands
        for option in command.options
        if option.value is not None
        for name in option.names
    ]
    names = [f"{command.name} {name}" for command in commands for name in command.commands]
    script = _FISH.replace("@TAKERS@", " ".join(map(_quoted, takers)))
    script = script.replace("@COMMANDS@", " ".join(map(_quoted, names)))
    return script + "".join(f"{line}\n" for command in commands for line in _fish_lines(command))


SHELLS: Final[Mapping[str, Callable[[Sequence[Command]], str]]] = {"bash": bash, "zsh": zsh, "fish": fish}


def _table(commands: Sequence[Command], lists: Callable[[Command], Iterable[str]]) -> str:
    """The body of a `case` on the words of a command; inside, one on the option whose value is wanted."""
    lines: list[str] = []
    for command in commands:
        lines.append(f"    {_quoted(command.name)})")
        lines += [f"        {line}" for line in lists(command)]
        places = " ".join(place.token for place in command.places)
        lines.append(f"        places={_quoted(places)} repeated={'yes' if command.repeated else ''}")
        takers = [option for option in command.options if option.value is not None]
        if takers:
            lines.append("        case $2 in")
            for option in takers:
                token = option.value.token if option.value is not None else ""
                lines.append(f"        {'|'.join(option.names)}) wants={_quoted(token)} ;;")
            lines.append("        esac")
        lines.append("        ;;")
    return "\n".join(lines)


def _bash_lists(command: Command) -> list[str]:
    options = [name for option in command.options for name in option.names]
    return [f"commands={_quoted(' '.join(command.commands))}", f"options={_quoted(' '.join(options))}"]


def _zsh_lists(command: Command) -> list[str]:
    """With what they do: `_describe` takes name:help."""
    options = {name: option.help for option in command.options for name in option.names}
    return [
        f"commands=({' '.join(_quoted(f'{name}:{text}') for name, text in command.commands.items())})",
        f"options=({' '.join(_quoted(f'{name}:{text}') for name, text in options.items())})",
    ]


def _fish_lines(command: Command) -> list[str]:
    at = f"complete -c {PROGRAM} -n \"__flownexus_at '{command.name}'\""
    lines = [f"{at} -f -a {_quoted(name)} -d {_quoted(text)}" for name, text in command.commands.items()]
    for option in command.options:
        names = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
        )
        value = "" if option.value is None else f" {_fish_place(option.value)}"
        lines.append(f"{at} {names}{value} -d {_quoted(option.help)}")
    for number, place in enumerate(command.places):
        more = " more" if command.repeated and number == len(command.places) - 1 else ""
        here = f"__flownexus_place '{command.name}' {number}{more}"
        takes = {"-x": "-f", "-r": ""}
        words = [takes.get(word, word) for word in _fish_place(place).split(" ")]
        lines.append(f'complete -c {PROGRAM} -n "{here}" {" ".join(filter(None, words))}')
    return lines


def _fish_place(place: Place) -> str:
    match place.kind:
        case "words":
            return f"-x -a {_quoted(' '.join(place.words))}"
        case kind if kind in ASKED:
            return f"-x -a {_quoted(f'(__flownexus_names {place.kind})')}"
        case "folders":
            return "-x -a '(__fish_complete_directories)'"
        case "files":
            return "-r -F"
    return "-x"


def _quoted(text: str) -> str:
    """For all three shells: a text between single quotes, which fish lets a backslash escape."""
    if "'" not in text and "\\" not in text:
        return f"'{text}'"
    # Outside of quotes a backslash takes the meaning of any character, in all of them.
    return "".join(c if c.isalnum() else f"\\{c}" for c in text)


_BASH: Final = r"""# Completion of the command flownexus for bash:
#   source <(flownexus completion bash)

_flownexus_table() {
    commands='' options='' places='' repeated='' wants=''
    case $1 in
@TABLE@
    esac
}

_flownexus() {
    local line="${COMP_LINE:0:COMP_POINT}" at=flownexus current word option='' state='' number=0
    local commands options places repeated wants='' found=''
    local -a words place
    # Taken apart anew: bash takes the colons in urn:imei:350 for ends of words.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    current="${words[-1]}"
    unset 'words[-1]'
    for word in "${words[@]:1}"; do
        if [[ -n $wants ]]; then
            [[ $option == --state ]] && state=$word
            wants=''
            continue
        fi
        case $word in
        --state=*) state="${word#*=}" ;;
        --*=*) ;;
        -*)
            option=$word
            _flownexus_table "$at" "$word"
            ;;
        *)
            _flownexus_table "$at" ''
            if [[ " $commands " == *" $word "* ]]; then
                at="$at $word" number=0
            else
                number=$((number + 1))
            fi
            ;;
        esac
    done
    COMPREPLY=()
    if [[ -z $wants && $current == --*=* ]]; then
        _flownexus_table "$at" "${current%%=*}"
        current="${current#*=}"
    elif [[ -z $wants ]]; then
        _flownexus_table "$at" ''
        if [[ $current == -* ]]; then
            wants="=${options// /,}"
        elif [[ -n $commands ]]; then
            wants="=${commands// /,}"
        else
            read -ra place <<<"$places"
            [[ -n $repeated && $number -ge ${#place[@]} ]] && number=$((${#place[@]} - 1))
            wants="${place[number]:-}"
        fi
    fi
    case $wants in
    files | folders)
        compopt -o filenames
        [[ $wants == files ]] && word=-f || word=-d
        mapfile -t COMPREPLY < <(compgen "$word" -- "$current")
        return
        ;;
    =*) found="${wants#=}" found="${found//,/$'\n'}" ;;
    @ASKED@)
        found="$("${words[0]/#\~/$HOME}" completion "$wants" --prefix "$current" \
            ${state:+--state "$state"} 2>/dev/null)"
        ;;
    esac
    while IFS=$'\t' read -r word _; do
        if [[ -n $word && $word == "$current"* ]]; then
            # What stands before the last colon is on the line, and stays there.
            [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && word="${word#"${current%"${current##*:}"}"}"
            COMPREPLY+=("$(printf %q "$word")")
        fi
    done <<<"$found"
}

complete -F _flownexus flownexus
"""

_ZSH: Final = r"""#compdef flownexus
# Completion of the command flownexus for zsh: a file _flownexus in a folder of $fpath, or
#   source <(flownexus completion zsh)

_flownexus_table() {
    commands=() options=() places='' repeated='' wants=''
    case $1 in
@TABLE@
    esac
}

_flownexus() {
    local at=flownexus word option='' state='' places repeated wants=''
    local -a commands options found
    integer number=1 i
    for ((i = 2; i < CURRENT; i++)); do
        word=${(Q)words[i]}
        if [[ -n $wants ]]; then
            [[ $option == --state ]] && state=$word
            wants=''
            continue
        fi
        case $word in
        (--state=*) state=${word#*=} ;;
        (--*=*) ;;
        (-*)
            option=$word
            _flownexus_table $at $word
            ;;
        (*)
            _flownexus_table $at ''
            if (( ${commands[(I)$word:*]} )); then
                at="$at $word" number=1
            else
                (( number++ ))
            fi
            ;;
        esac
    done
    if [[ -z $wants && $PREFIX == --*=* ]]; then
        _flownexus_table $at ${PREFIX%%=*}
        compset -P '*='
    elif [[ -z $wants ]]; then
        _flownexus_table $at ''
        if [[ $PREFIX == -* ]]; then
            _describe -o option options
            return
        elif (( $#commands )); then
            _describe command commands
            return
        fi
        found=(${=places})
        [[ -n $repeated ]] && (( number > $#found )) && number=$#found
        wants=${found[number]}
    fi
    case $wants in
    (files) _files ;;
    (folders) _files -/ ;;
    ('='*) compadd -- ${(s:,:)wants#=} ;;
    (@ASKED@)
        found=(${(f)"$(${~${(Q)words[1]}} completion $wants --prefix "${(Q)PREFIX}" \
            ${state:+--state} ${state:+$state} 2>/dev/null)"})
        # A name may have colons, which end it for _describe.
        found=(${${found//:/\\:}/$'\t'/:})
        _describe -V $wants found
        ;;
    esac
}

if [[ $funcstack[1] == _flownexus ]]; then
    _flownexus "$@"
else
    compdef _flownexus flownexus
fi
"""

_FISH: Final = r"""# Completion of the command flownexus for fish: a file flownexus.fish in
# ~/.config/fish/completions, or
#   flownexus completion fish | source

# Prints which command the words before the cursor name, how many arguments it has, and the state folder.
function __flownexus_words
    set -l at flownexus
    set -l number 0
    set -l taker ''
    set -l state ''
    for word in (commandline -opc)[2..-1]
        if test -n "$taker"
            test "$taker" = --state; and set state $word
            set taker ''
        else if string match -q -- '--state=*' $word
            set state (string replace -- '--state=' '' $word)
        else if string match -q -- '-*' $word
            contains -- "$at $word" @TAKERS@; and set taker $word
        else if contains -- "$at $word" @COMMANDS@
            set at "$at $word"
            set number 0
        else
            set number (math $number + 1)
        end
    end
    printf '%s\n' $at $number $state
end

function __flownexus_at
    set -l words (__flownexus_words)
    test "$words[1]" = "$argv[1]"
end

function __flownexus_place
    set -l words (__flownexus_words)
    test "$words[1]" = "$argv[1]"; or return 1
    test "$words[2]" = "$argv[2]"; and return 0
    test "$argv[3]" = more; and test "$words[2]" -ge "$argv[2]"
end

function __flownexus_names
    set -l words (__flownexus_words)
    set -l state
    test -n "$words[3]"; and set state --state $words[3]
    set -l program (commandline -opc)[1]
    $program completion $argv[1] --prefix (commandline -ct | string unescape) $state 2>/dev/null
end

complete -c flownexus -f
"""
