# fish completion for wherry: commands and options are asked of the program, so they are always its own.
function __wherry_commands
    wherry --help 2>/dev/null | string match -rg '^  ([a-z]+)  +(.*)' | paste - -
end
function __wherry_options
    set -l words (commandline -opc)
    wherry $words[2] --help 2>/dev/null | string match -arg '(?:^|[ ,])(--?[a-z][a-z-]*)'
end
complete -c wherry -n __fish_use_subcommand -f -a '(__wherry_commands)'
complete -c wherry -n 'not __fish_use_subcommand' -a '(__wherry_options)'
