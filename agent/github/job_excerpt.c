/* What is kept of a job message, so that another process can finish the job. */
#include "wherry/github/job.h"

static bool is_kept_variable(const cJSON *variable)
{
    /* Flags and endpoints; what a job only computes with is the dead worker's business. */
    return (wh_starts_with_ci(variable->string, "system.") ||
            wh_starts_with_ci(variable->string, "actions")) &&
           !wh_json_bool(variable, "isSecret", false);
}

static void copy(cJSON *to, const cJSON *from, const char *name)
{
    const cJSON *item = wh_json_get(from, name);
    if (item)
        cJSON_AddItemToObject(to, name, cJSON_Duplicate(item, true));
}

cJSON *wh_github_job_excerpt(const cJSON *message)
{
    static const char *const names[] = {
        "messageType",    "jobId",       "jobDisplayName", "jobName",  "requestId",
        "billingOwnerId", "lockedUntil", "plan",           "timeline", "actionsEnvironment"};
    cJSON *out = cJSON_CreateObject();
    for (size_t i = 0; i < WH_COUNT(names); i++)
        copy(out, message, names[i]);
    cJSON *kept = cJSON_AddArrayToObject(cJSON_AddObjectToObject(out, "resources"), "endpoints");
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(wh_json_get(message, "resources"), "endpoints"))
    {
        if (wh_streq_ci(wh_json_string(item, "name"), "SystemVssConnection"))
            cJSON_AddItemToArray(kept, cJSON_Duplicate(item, true));
    }
    cJSON *variables = cJSON_AddObjectToObject(out, "variables");
    cJSON_ArrayForEach(item, wh_json_get(message, "variables"))
    {
        if (item->string && is_kept_variable(item))
            cJSON_AddItemToObject(variables, item->string, cJSON_Duplicate(item, true));
    }
    return out;
}
