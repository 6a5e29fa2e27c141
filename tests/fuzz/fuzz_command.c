/* Workflow commands: each line of the input, with the state that they switch. */
#include "wherry/job/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void act(struct wh_command_state *s, const struct wh_command *c)
{
    struct wh_issue issue;
    wh_autostr debug = {0};
    if (c->kind == WH_COMMAND_STOP_COMMANDS)
        wh_command_stop(s, c->data, c->data_len % 2, NULL);
    if (c->kind == WH_COMMAND_ECHO)
        wh_command_echo(s, c->data, NULL);
    wh_issue_from_command(c, "/w", &issue, &debug);
    wh_issue_clear(&issue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wh_command_state s = {0};
    struct wh_reader r = wh_reader_of(data, size);
    struct wh_view line;
    while (wh_reader_line(&r, &line)) {
        wh_autocommand c = {0};
        wh_autostr plain = {0};
        if (wh_command_line(&s, line.data, line.len, &c) == WH_LINE_COMMAND)
            act(&s, &c);
        else
            wh_command_plain_text(line.data, line.len, &plain);
    }
    wh_command_state_clear(&s);
    return 0;
}
