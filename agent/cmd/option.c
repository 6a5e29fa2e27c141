/* What getopt_long() refuses, in our words. */
#include "cmd/option.h"

#include <stdio.h>

#include "wherry/base/str.h"

#define MAX_OPTIONS 64

static void say_unknown(const char *text, const struct option *table)
{
    const char *names[MAX_OPTIONS + 1] = {NULL};
    for (size_t i = 0; table[i].name && i < MAX_OPTIONS; i++)
        names[i] = table[i].name;
    wh_autofree char *name = wh_strndup(text, strcspn(text, "="));
    size_t like = 0;
    for (size_t i = 0; names[i]; i++)
        like += wh_starts_with(names[i], name);
    if (like > 1) {
        fprintf(stderr, "--%s may mean several options:", name);
        for (size_t i = 0; names[i]; i++)
            if (wh_starts_with(names[i], name))
                fprintf(stderr, " --%s", names[i]);
        fputc('\n', stderr);
        return;
    }
    const char *near = wh_did_you_mean(name, names);
    fprintf(stderr, "there is no option --%s%s%s%s\n", name, near ? "; did you mean --" : "",
            near ? near : "", near ? "?" : "");
}

int wh_cmd_option(int argc, char **argv, const char *letters, const struct option *table)
{
    opterr = 0;
    int option = getopt_long(argc, argv, letters, table, NULL);
    if (option != '?')
        return option;
    const char *text = argv[optind - 1];
    fprintf(stderr, "wherry %s: ", argv[0]);
    if (optopt == 0 && wh_starts_with(text, "--"))
        say_unknown(text + 2, table);
    else if (optopt != 0 && wh_starts_with(text, "--") && strchr(text, '='))
        fprintf(stderr, "%.*s takes no value\n", (int)strcspn(text, "="), text);
    else if (optopt != 0 && wh_starts_with(text, "--"))
        fprintf(stderr, "%s needs a value\n", text);
    else if (strchr(letters, optopt))
        fprintf(stderr, "-%c needs a value\n", optopt);
    else
        fprintf(stderr, "there is no option -%c\n", optopt);
    fprintf(stderr, "`wherry %s --help` tells more.\n", argv[0]);
    return '?';
}
