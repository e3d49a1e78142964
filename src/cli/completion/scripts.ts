/**
 * Scripts that ask `isle __complete WORD...` (the words after `isle`, the last one unfinished) and offer its
 * lines: a candidate, and after a tab what it is. The line `:file` asks for file names.
 */
export const completionScripts = {
  bash: String.raw`# bash completion for isle
_isle() {
  local line words cur=${'$'}{COMP_WORDS[COMP_CWORD]}
  local IFS=$'\n'
  COMPREPLY=()
  # Words are broken at : and = by bash; put together again, names such as localhost:5000/a complete.
  local joined=${'$'}{COMP_LINE:0:COMP_POINT}
  IFS=$' \t' read -r -a words <<<"$joined"
  [[ $joined == *' ' ]] && words+=('')
  cur=${'$'}{words[-1]}
  local keep=${'$'}{cur##*[:=]}
  local cut=$(( ${'$'}{#cur} - ${'$'}{#keep} ))
  while IFS=$'\t' read -r line _; do
    case $line in
      :file) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- "$keep")) ;;
      "$cur"*) COMPREPLY+=("${'$'}{line:cut}") ;;
    esac
  done < <("${'$'}{words[0]}" __complete "${'$'}{words[@]:1}" 2>/dev/null)
  [[ ${'$'}{#COMPREPLY[@]} -eq 1 && ${'$'}{COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _isle isle
`,
  zsh: String.raw`#compdef isle
_isle() {
  local -a found
  local line candidate what
  while IFS= read -r line; do
    if [[ $line == ':file' ]]; then _files; continue; fi
    candidate=${'$'}{line%%$'\t'*}
    what=${'$'}{line#*$'\t'}
    [[ $what == $line ]] && what=''
    found+=("${'$'}{candidate//:/\\:}${'$'}{what:+:$what}")
  done < <("$words[1]" __complete "${'$'}{(@)words[2,CURRENT]}" 2>/dev/null)
  (( ${'$'}{#found} )) && _describe isle found
}
_isle "$@"
`,
  fish: String.raw`# fish completion for isle
function __isle_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        if test "$line" = ':file'
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c isle -f -a '(__isle_complete)'
`,
} as const;
