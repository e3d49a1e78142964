# fish completion for isle
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
