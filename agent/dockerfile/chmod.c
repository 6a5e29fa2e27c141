/* --chmod: octal or symbolic (builder.md §1.4). Symbolic clauses: who op perms, several ops in one clause:
 * "u=rwX,go-w,+t". */
#include "wherry/dockerfile/eval.h"

/* One `op perms` for a set of who. */
struct change {
    unsigned who; /* mask of 0700, 0070, 0007 and set-id bits that it may touch */
    char op;
    unsigned bits;
    bool conditional; /* X: x if it is a directory or somebody may execute it */
    unsigned copy;    /* 'u', 'g' or 'o': the bits of that class; 0 */
};

static unsigned who_mask(const char **p, bool *all)
{
    unsigned who = 0;
    for (;; (*p)++) {
        if (**p == 'u')
            who |= 04700;
        else if (**p == 'g')
            who |= 02070;
        else if (**p == 'o')
            who |= 01007;
        else if (**p == 'a')
            who |= 07777;
        else
            break;
    }
    *all = who == 0;
    return who ? who : 07777;
}

static bool read_perms(const char **p, struct change *c)
{
    c->bits = 0;
    c->copy = 0;
    c->conditional = false;
    if (**p == 'u' || **p == 'g' || **p == 'o') {
        c->copy = (unsigned)*(*p)++;
        return true;
    }
    for (;; (*p)++) {
        switch (**p) {
        case 'r':
            c->bits |= 0444;
            break;
        case 'w':
            c->bits |= 0222;
            break;
        case 'x':
            c->bits |= 0111;
            break;
        case 'X':
            c->conditional = true;
            break;
        case 's':
            c->bits |= 06000;
            break;
        case 't':
            c->bits |= 01000;
            break;
        default:
            return true;
        }
    }
}

static unsigned apply(const struct change *c, unsigned mode, bool is_dir)
{
    unsigned bits = c->bits;
    if (c->copy) {
        unsigned shift = c->copy == 'u' ? 6 : c->copy == 'g' ? 3 : 0;
        unsigned class = (mode >> shift) & 7;
        bits = class << 6 | class << 3 | class;
    }
    if (c->conditional && (is_dir || (mode & 0111)))
        bits |= 0111;
    bits &= c->who;
    if (c->op == '+')
        return mode | bits;
    if (c->op == '-')
        return mode & ~bits;
    /* `=` takes the other permissions of those that it names away; set-id bits of a directory stay, as chmod
     * leaves them. */
    unsigned cleared = c->who & (is_dir ? 01777 : 07777);
    return (mode & ~cleared) | bits;
}

/* Runs through all clauses; with mode NULL only checks them. */
static bool walk(const char *text, unsigned *mode, bool is_dir)
{
    const char *p = text;
    do {
        struct change c = {0};
        bool all;
        c.who = who_mask(&p, &all);
        if (*p != '+' && *p != '-' && *p != '=')
            return false;
        while (*p == '+' || *p == '-' || *p == '=') {
            c.op = *p++;
            if (!read_perms(&p, &c))
                return false;
            if (mode)
                *mode = apply(&c, *mode, is_dir);
        }
    } while (*p == ',' && *++p != '\0');
    return *p == '\0' && p > text && p[-1] != ',';
}

int wh_df_chmod_parse(const char *text, struct wh_df_chmod *out, struct wh_error *err)
{
    *out = (struct wh_df_chmod){.given = true};
    bool digits = text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
    if (digits) {
        const char *p = text + strspn(text, "0");
        bool ok = strlen(p) <= 4 && strspn(p, "01234567") == strlen(p);
        for (; ok && *p; p++)
            out->octal = out->octal * 8 + (unsigned)(*p - '0');
        if (!ok)
            return wh_fail(err, WH_E_ARGUMENT,
                           "invalid chmod parameter: '%s'. it should be octal string and between 0 and 07777",
                           text);
    } else if (!walk(text, NULL, false)) {
        return wh_fail(err, WH_E_ARGUMENT,
                       "invalid chmod parameter: '%s'. it should be octal string and between 0 and 07777, or "
                       "like u=rwX,go-w",
                       text);
    }
    out->symbolic = !digits;
    out->text = wh_strdup(text);
    return 0;
}

unsigned wh_df_chmod_apply(const struct wh_df_chmod *c, unsigned mode, bool is_dir)
{
    if (!c->given)
        return mode;
    if (!c->symbolic)
        return c->octal;
    mode &= 07777;
    walk(c->text, &mode, is_dir);
    return mode;
}
