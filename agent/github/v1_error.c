/* What an error of a V1 server means (runner-protocol.md §0.3, §3.1, §3.4). */
#include "github/tenant.h"

/* Without a namespace; some servers leave out the word's end. */
static bool is_type(const char *type, const char *name)
{
    return wh_starts_with_ci(type, name) &&
           (!type[strlen(name)] || wh_streq_ci(type + strlen(name), "Exception"));
}

enum wh_outcome gh_v1_outcome(const struct gh_answer *answer)
{
    static const struct {
        const char *type;
        enum wh_outcome outcome;
    } known[] = {
        {"TaskAgentNotFound", WH_OUT_REMOVED},
        {"RunnerNotFound", WH_OUT_REMOVED},
        {"TaskAgentPoolNotFound", WH_OUT_DENIED},
        {"TaskAgentSessionConflict", WH_OUT_CONFLICT},
        {"TaskAgentSessionExpired", WH_OUT_SESSION_INVALID},
        {"TaskAgentAccessTokenExpired", WH_OUT_DENIED},
        {"TaskAgentJobNotFound", WH_OUT_SKIP},
        {"TaskAgentJobTokenExpired", WH_OUT_SKIP},
        {"HostedRunnerDeprovisioned", WH_OUT_SHUTDOWN},
    };
    if (!answer->status)
        return answer->outcome == WH_OUT_OK ? WH_OUT_TRANSIENT : answer->outcome;
    wh_autofree char *type = answer->http ? wh_v1_error_type(answer->http) : NULL;
    for (size_t i = 0; type && i < WH_COUNT(known); i++)
        if (is_type(type, known[i].type))
            return known[i].outcome;
    const char *message = wh_json_string(answer->json, "message");
    bool denied = (type && is_type(type, "AccessDenied")) || answer->status == 403;
    if (denied &&
        (wh_json_int(answer->json, "errorCode", 0) == 1 || (message && strcasestr(message, "deprecated"))))
        return WH_OUT_TOO_OLD;
    return denied || answer->status == 401 ? WH_OUT_DENIED : WH_OUT_TRANSIENT;
}
