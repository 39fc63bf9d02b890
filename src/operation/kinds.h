
#ifndef _LINES_OPERATION_KINDS_H_INCLUDED_
#define _LINES_OPERATION_KINDS_H_INCLUDED_


#include "operation/record.h"


/* every kind of operation; ends with a null name */
extern const lines_op_kind_t  lines_op_kinds[];


#endif /* _LINES_OPERATION_KINDS_H_INCLUDED_ */
