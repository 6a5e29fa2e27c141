#include "mask_forms.h"

#include "wherry/base/digest.h"
#include "wherry/base/secret.h"
#include "wherry/job/logtext.h"
#include "wherry/job/value.h"

#define MIN_QUOTED_UNITS 8 /* a quoted value is longer than this */
#define MIN_PART_UNITS 6   /* parts at an ampersand are at least this long */

struct forms {
    struct wh_view value;
    wh_mask_form form;
    void *arg;
};

static void give(const struct forms *f, const char *data, size_t len)
{
    if (len > 0 && !(len == f->value.len && memcmp(data, f->value.data, len) == 0))
        f->form(f->arg, data, len);
}

static void give_str(const struct forms *f, struct wh_str *s)
{
    give(f, wh_str_text(s), s->len);
    wh_str_wipe(s);
}

/* The text behind one or two unknown bytes, as in base64("user:" secret), starts at another bit: so the value
 * without its first bytes is masked too. */
static void base64_forms(const struct forms *f)
{
    for (size_t skip = 0; skip < 3; skip++) {
        if (skip > 0 && f->value.len <= skip)
            break;
        char *text = wh_base64(f->value.data + skip, f->value.len - skip);
        give(f, text, strlen(text));
        wh_wipe(text, strlen(text));
        free(text);
    }
}

static void replace_form(const struct forms *f, char from, const char *to)
{
    if (!memchr(f->value.data, from, f->value.len))
        return;
    struct wh_str s = {0};
    for (size_t i = 0; i < f->value.len; i++) {
        if (f->value.data[i] == from)
            wh_str_add(&s, to);
        else
            wh_str_addc(&s, f->value.data[i]);
    }
    give_str(f, &s);
}

static void json_form(const struct forms *f)
{
    struct wh_str s = {0};
    wh_json_escape_add(&s, f->value.data, f->value.len);
    give_str(f, &s);
}

static void percent_form(const struct forms *f)
{
    struct wh_str s = {0};
    for (size_t i = 0; i < f->value.len; i++) {
        unsigned char c = (unsigned char)f->value.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || c == '.' || c == '~';
        if (plain)
            wh_str_addc(&s, (char)c);
        else
            wh_str_addf(&s, "%%%02X", c);
    }
    give_str(f, &s);
}

static void xml_form(const struct forms *f)
{
    struct wh_str s = {0};
    for (size_t i = 0; i < f->value.len; i++) {
        char c = f->value.data[i];
        const char *entity = c == '<'    ? "&lt;"
                             : c == '>'  ? "&gt;"
                             : c == '&'  ? "&amp;"
                             : c == '"'  ? "&quot;"
                             : c == '\'' ? "&apos;"
                                         : NULL;
        if (entity)
            wh_str_add(&s, entity);
        else
            wh_str_addc(&s, c);
    }
    give_str(f, &s);
}

static void unquoted_form(const struct forms *f)
{
    struct wh_view v = f->value;
    if (v.len > MIN_QUOTED_UNITS && v.data[0] == '"' && v.data[v.len - 1] == '"' &&
        wh_utf16_length(v.data, v.len) > MIN_QUOTED_UNITS)
        give(f, v.data + 1, v.len - 2);
}

static void give_part(const struct forms *f, const char *data, size_t len)
{
    if (wh_utf16_length(data, len) >= MIN_PART_UNITS)
        give(f, data, len);
}

/* Shells print a value in two parts, cut at an ampersand; after "&+" one more character is lost to colour
 * codes. */
static void ampersand_forms(const struct forms *f)
{
    struct wh_view v = f->value;
    const char *end = v.data + v.len;
    const char *plus = memmem(v.data, v.len, "&+", 2);
    const char *last = memrchr(v.data, '&', v.len);
    if (!last)
        return;
    const char *cut = plus ? plus + 2 : last + 1;
    give_part(f, v.data, (size_t)(cut - v.data));
    if (plus && cut < end) {
        do {
            cut++;
        } while (cut < end && ((unsigned char)*cut & 0xC0) == 0x80);
    }
    give_part(f, cut, (size_t)(end - cut));
}

void wh_mask_forms(const char *value, size_t len, wh_mask_form form, void *arg)
{
    struct forms f = {{value, len}, form, arg};
    base64_forms(&f);
    replace_form(&f, '"', "\\\"");
    replace_form(&f, '\'', "''");
    json_form(&f);
    percent_form(&f);
    xml_form(&f);
    unquoted_form(&f);
    ampersand_forms(&f);
}
