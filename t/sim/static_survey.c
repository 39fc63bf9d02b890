
/* What the survey keeps, one for each node of the simulation. */

#include "background/survey.c"

#include "world.h"


sim_static_t  sim_survey_statics[] = {
    { &survey, sizeof(survey) },
    { NULL, 0 }
};
