/* The profile as OCI's linux.seccomp, for runtimes that compile it themselves. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/socket.h>

#include "internal.h"
#include "seccomp_table.h"
#include "wherry/base/json.h"

static void add_names(cJSON *names)
{
    for (size_t i = 0; i < WH_COUNT(wh_seccomp_allowed); i++) {
        wh_autostrv char **words = wh_strv_split(wh_seccomp_allowed[i], ' ');
        for (size_t j = 0; words && words[j]; j++)
            if (words[j][0] != '\0')
                cJSON_AddItemToArray(names, cJSON_CreateString(words[j]));
    }
}

static cJSON *add_rule(cJSON *rules, const char *name, const char *action)
{
    cJSON *rule = cJSON_CreateObject();
    cJSON *names = cJSON_AddArrayToObject(rule, "names");
    if (name)
        cJSON_AddItemToArray(names, cJSON_CreateString(name));
    else
        add_names(names);
    wh_json_add_string(rule, "action", action);
    cJSON_AddItemToArray(rules, rule);
    return rule;
}

static void add_condition(cJSON *rule, const char *op, uint64_t value)
{
    cJSON *args = cJSON_AddArrayToObject(rule, "args");
    cJSON *arg = cJSON_CreateObject();
    wh_json_add_int(arg, "index", 0);
    wh_json_add_int(arg, "value", (int64_t)value);
    wh_json_add_string(arg, "op", op);
    cJSON_AddItemToArray(args, arg);
}

static void add_architectures(cJSON *seccomp)
{
    cJSON *list = cJSON_AddArrayToObject(seccomp, "architectures");
    switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
        cJSON_AddItemToArray(list, cJSON_CreateString("SCMP_ARCH_X86_64"));
        cJSON_AddItemToArray(list, cJSON_CreateString("SCMP_ARCH_X86"));
        cJSON_AddItemToArray(list, cJSON_CreateString("SCMP_ARCH_X32"));
        break;
    case SCMP_ARCH_AARCH64:
        cJSON_AddItemToArray(list, cJSON_CreateString("SCMP_ARCH_AARCH64"));
        cJSON_AddItemToArray(list, cJSON_CreateString("SCMP_ARCH_ARM"));
        break;
    case SCMP_ARCH_ARM:
        cJSON_AddItemToArray(list, cJSON_CreateString("SCMP_ARCH_ARM"));
        break;
    default:
        break;
    }
}

cJSON *wh_seccomp_json(void)
{
    cJSON *seccomp = cJSON_CreateObject();
    wh_json_add_string(seccomp, "defaultAction", "SCMP_ACT_ERRNO");
    wh_json_add_int(seccomp, "defaultErrnoRet", EPERM);
    add_architectures(seccomp);
    cJSON *rules = cJSON_AddArrayToObject(seccomp, "syscalls");
    (void)add_rule(rules, NULL, "SCMP_ACT_ALLOW");
    for (size_t i = 0; i < WH_COUNT(wh_seccomp_personalities); i++)
        add_condition(add_rule(rules, "personality", "SCMP_ACT_ALLOW"), "SCMP_CMP_EQ",
                      wh_seccomp_personalities[i]);
    add_condition(add_rule(rules, "socket", "SCMP_ACT_ALLOW"), "SCMP_CMP_LT", AF_ALG);
    add_condition(add_rule(rules, "socket", "SCMP_ACT_ALLOW"), "SCMP_CMP_EQ", AF_ALG + 1);
    add_condition(add_rule(rules, "socket", "SCMP_ACT_ALLOW"), "SCMP_CMP_GT", AF_VSOCK);
    add_condition(add_rule(rules, "clone", "SCMP_ACT_ALLOW"), "SCMP_CMP_MASKED_EQ",
                  CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                      CLONE_NEWCGROUP);
    wh_json_add_int(add_rule(rules, "clone3", "SCMP_ACT_ERRNO"), "errnoRet", ENOSYS);
    return seccomp;
}
