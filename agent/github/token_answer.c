/* Reading the answer of the token call (runner-protocol.md §2.2). */
#include "github/token.h"

#include "wherry/base/json.h"

static bool speaks_of_clock(const char *text)
{
    return text && (strcasestr(text, "Current server time is") || strcasestr(text, "lifetime"));
}

static void read_refusal(const cJSON *json, int status, struct wh_token_answer *out)
{
    const char *error = wh_json_string(json, "error");
    const char *description = wh_json_string(json, "error_description");
    bool both = error && description && *description;
    if (both)
        out->why = wh_printf("%.100s: %.1000s", error, description);
    else if (description || error)
        out->why = wh_strdup(description && *description ? description : error);
    /* The description decides first: a wrong clock shows as invalid_client too. */
    if (speaks_of_clock(description))
        out->outcome = WH_OUT_CLOCK;
    else if (error && wh_streq_ci(error, "invalid_client"))
        out->outcome = WH_OUT_DENIED;
    else
        out->outcome = WH_OUT_TRANSIENT; /* server_error, anything unknown, statuses without a word */
    if (!out->why)
        out->why = wh_printf("status %d without a word", status);
}

void wh_token_answer_read(int status, const char *body, size_t len, struct wh_token_answer *out)
{
    wh_autoerror err = {0};
    memset(out, 0, sizeof *out);
    wh_autojson *json = wh_json_parse(body, len, WH_MAX_TOKEN_ANSWER, "token answer", &err);
    if (status < 200 || status > 299) {
        read_refusal(json, status, out);
        return;
    }
    const char *token = wh_json_string(json, "access_token");
    if (!token || !*token || strpbrk(token, "\r\n")) {
        out->outcome = WH_OUT_TRANSIENT;
        out->why = json ? wh_strdup("the answer has no access_token") : wh_strdup(wh_error_text(&err));
        return;
    }
    out->outcome = WH_OUT_OK;
    out->token = wh_secret_new(token, strlen(token));
    out->seconds = wh_json_int(json, "expires_in", 0);
    if (out->seconds <= 0)
        out->seconds = 300;
    if (out->seconds > WH_MAX_TOKEN_SECONDS)
        out->seconds = WH_MAX_TOKEN_SECONDS;
    cJSON *held = cJSON_GetObjectItemCaseSensitive(json, "access_token");
    if (cJSON_IsString(held))
        wh_wipe(held->valuestring, strlen(held->valuestring));
}

void wh_token_answer_clear(struct wh_token_answer *answer)
{
    wh_secret_free(answer->token);
    free(answer->why);
    memset(answer, 0, sizeof *answer);
}
