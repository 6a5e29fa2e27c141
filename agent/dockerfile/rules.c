/* The lint rules by name: what BuildKit says of each, and where it tells more (builder.md §1.8). */
#include "wherry/dockerfile/check.h"

#include "dockerfile/text.h"

static const struct {
    const char *name, *description;
    bool no_page;
} rules[] = {
    {"StageNameCasing", "Stage names should be lowercase", false},
    {"FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", false},
    {"NoEmptyContinuation", "Empty continuation lines will become errors in a future release", false},
    {"ConsistentInstructionCasing",
     "All commands within the Dockerfile should use the same casing (either upper or lower)", false},
    {"DuplicateStageName", "Stage names should be unique", false},
    {"ReservedStageName", "Reserved words should not be used as stage names", false},
    {"JSONArgsRecommended",
     "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
     false},
    {"MaintainerDeprecated",
     "The MAINTAINER instruction is deprecated, use a label instead to define an image author", false},
    {"UndefinedArgInFrom", "FROM command must use declared ARGs", false},
    {"WorkdirRelativePath",
     "Relative workdir without an absolute workdir declared within the build can have unexpected results if "
     "the "
     "base image changes",
     false},
    {"UndefinedVar", "Variables should be defined before their use", false},
    {"MultipleInstructionsDisallowed",
     "Multiple instructions of the same type should not be used in the same stage", false},
    {"LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used", false},
    {"InvalidBaseImagePlatform", "Base image platform does not match expected target platform", true},
    {"RedundantTargetPlatform",
     "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
     false},
    {"SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands", false},
    {"InvalidDefaultArgInFrom", "Default value for global ARG results in an empty or invalid base image name",
     false},
    {"FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value", false},
    {"CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore", false},
    {"InvalidDefinitionDescription",
     "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If "
     "this is "
     "not intended to be a description comment, add an empty line or comment between the instruction and the "
     "comment.",
     false},
    {"ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", false},
    {"ExposeInvalidFormat",
     "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error "
     "in a "
     "future release",
     false},
};

const char *wh_df_rule_description(const char *rule)
{
    for (size_t i = 0; i < WH_COUNT(rules); i++)
        if (strcmp(rules[i].name, rule) == 0)
            return rules[i].description;
    return "";
}

static bool upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

char *wh_df_rule_url(const char *rule)
{
    for (size_t i = 0; i < WH_COUNT(rules); i++)
        if (strcmp(rules[i].name, rule) == 0 && rules[i].no_page)
            return NULL;
    wh_autostr out = {0};
    wh_str_add(&out, "https://docs.docker.com/go/dockerfile/rule/");
    for (const char *p = rule; *p; p++) { /* JSONArgs: json-args */
        bool starts = upper(*p) && p > rule && (!upper(p[-1]) || (p[1] && !upper(p[1])));
        if (starts)
            wh_str_addc(&out, '-');
        wh_str_addc(&out, (char)(upper(*p) ? *p + ('a' - 'A') : *p));
    }
    wh_str_addc(&out, '/');
    return wh_str_steal(&out);
}
