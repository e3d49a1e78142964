# bash completion for isle
_isle() {
  local line words cur=${COMP_WORDS[COMP_CWORD]}
  local IFS=$'\n'
  COMPREPLY=()
  # Words are broken at : and = by bash; put together again, names such as localhost:5000/a complete.
  local joined=${COMP_LINE:0:COMP_POINT}
  IFS=$' \t' read -r -a words <<<"$joined"
  [[ $joined == *' ' ]] && words+=('')
  cur=${words[-1]}
  local keep=${cur##*[:=]}
  local cut=$(( ${#cur} - ${#keep} ))
  while IFS=$'\t' read -r line _; do
    case $line in
      :file) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- "$keep")) ;;
      "$cur"*) COMPREPLY+=("${line:cut}") ;;
    esac
  done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _isle isle
