/* Which contexts and functions the places of a workflow allow (job-execution.md §2.7). */
#include "wherry/job/expr.h"

#define WORKFLOW (WH_ALLOW_GITHUB | WH_ALLOW_INPUTS | WH_ALLOW_VARS)
#define STRATEGY (WORKFLOW | WH_ALLOW_NEEDS)
#define JOB (STRATEGY | WH_ALLOW_STRATEGY | WH_ALLOW_MATRIX)
#define LIVE (WH_ALLOW_STEPS | WH_ALLOW_JOB | WH_ALLOW_RUNNER | WH_ALLOW_ENV)
#define COMPOSITE (WH_ALLOW_GITHUB | WH_ALLOW_INPUTS | WH_ALLOW_STRATEGY | WH_ALLOW_MATRIX | LIVE)

uint32_t wh_place_allows(enum wh_place place)
{
    switch (place) {
    case WH_PLACE_WORKFLOW:
        return WORKFLOW;
    case WH_PLACE_WORKFLOW_ENV:
        return WORKFLOW | WH_ALLOW_SECRETS;
    case WH_PLACE_JOB_IF:
        return STRATEGY | WH_ALLOW_STATUS;
    case WH_PLACE_JOB:
        return JOB;
    case WH_PLACE_JOB_STRATEGY:
        return STRATEGY;
    case WH_PLACE_JOB_ENV:
        return JOB | WH_ALLOW_SECRETS;
    case WH_PLACE_JOB_DEFAULTS:
        return JOB | WH_ALLOW_ENV;
    case WH_PLACE_CONTAINER_ENV:
        return JOB | WH_ALLOW_SECRETS | WH_ALLOW_JOB | WH_ALLOW_RUNNER | WH_ALLOW_ENV;
    case WH_PLACE_CONTAINER_CREDENTIALS:
        return JOB | WH_ALLOW_SECRETS | WH_ALLOW_ENV;
    case WH_PLACE_JOB_OUTPUTS:
        return JOB | LIVE | WH_ALLOW_SECRETS;
    case WH_PLACE_ENVIRONMENT_URL:
        return JOB | LIVE;
    case WH_PLACE_STEP_IF:
    case WH_PLACE_ACTION_IF:
        return JOB | LIVE | WH_ALLOW_STATUS | WH_ALLOW_HASHFILES;
    case WH_PLACE_STEP:
        return JOB | LIVE | WH_ALLOW_SECRETS | WH_ALLOW_HASHFILES;
    case WH_PLACE_ACTION_INPUT:
        return WH_ALLOW_GITHUB | WH_ALLOW_STRATEGY | WH_ALLOW_MATRIX | WH_ALLOW_JOB | WH_ALLOW_RUNNER |
               WH_ALLOW_HASHFILES;
    case WH_PLACE_ACTION_ARGS:
        return WH_ALLOW_INPUTS;
    case WH_PLACE_COMPOSITE_STEP:
        return COMPOSITE | WH_ALLOW_HASHFILES;
    case WH_PLACE_COMPOSITE_IF:
        return COMPOSITE | WH_ALLOW_VARS | WH_ALLOW_NEEDS | WH_ALLOW_STATUS | WH_ALLOW_HASHFILES;
    case WH_PLACE_COMPOSITE_OUTPUTS:
        return COMPOSITE;
    case WH_PLACE_LITERAL:
        return 0;
    case WH_PLACE_WORKFLOW_OUTPUTS:
        return WORKFLOW | WH_ALLOW_JOBS;
    case WH_PLACE_ANY:
        return JOB | LIVE | WH_ALLOW_SECRETS | WH_ALLOW_JOBS | WH_ALLOW_STATUS | WH_ALLOW_HASHFILES;
    }
    return 0;
}
