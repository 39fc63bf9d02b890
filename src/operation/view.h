
/*
 * What is true now, by the record and by what this run has seen: what is
 * decided upon.
 */

#ifndef _LINES_OPERATION_VIEW_H_INCLUDED_
#define _LINES_OPERATION_VIEW_H_INCLUDED_


#include "operation/record.h"


void lines_op_view(lines_op_t *op, lines_view_t *view);

/* what a person has said of this step: who begins anew drops it */
lines_wish_e lines_op_word(lines_op_t *op);


#endif /* _LINES_OPERATION_VIEW_H_INCLUDED_ */
