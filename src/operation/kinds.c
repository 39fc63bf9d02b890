
/*
 * Every kind of operation (operation/README.md, "Kinds and steps"): what is
 * done where operation/decide.c says so.
 */

#include "operation/kinds.h"


/* what is done alike, whatever it is of */

#define COMMON                                                                \
    [LINES_DO_SEND] = lines_charge_send,                                      \
    [LINES_DO_FIND] = lines_charge_find,                                      \
    [LINES_DO_WAIT] = lines_charge_wait,                                      \
    [LINES_DO_DELETE] = lines_payment_delete,                                 \
    [LINES_DO_VOID] = lines_payment_void,                                     \
    [LINES_DO_LIST] = lines_refund_list,                                      \
    [LINES_DO_COUNT] = lines_refund_count,                                    \
    [LINES_DO_CREDIT] = lines_refund_credit,                                  \
    [LINES_DO_GIVE] = lines_refund_give,                                      \
    [LINES_DO_REPORT] = lines_refund_report,                                  \
    [LINES_DO_PASS] = lines_refund_pass


const lines_op_kind_t  lines_op_kinds[] = {

    { "request", {
        COMMON,
        [LINES_DO_RENEW] = lines_payment_renew,
        [LINES_DO_RECORD] = lines_payment_record,
        [LINES_DO_REFUSE] = lines_payment_refuse,
        [LINES_DO_REST] = lines_payment_rest,
        [LINES_DO_PLACE] = lines_payment_place,
        [LINES_DO_SETTLE] = lines_payment_settle,
        [LINES_DO_INCLUDE] = lines_payment_settle,
        [LINES_DO_TELL] = lines_payment_tell,
        [LINES_DO_FAIL] = lines_payment_fail,
        [LINES_DO_END] = lines_payment_end }, 0 },

    { "purchase", {
        COMMON,
        [LINES_DO_CARD] = lines_purchase_card,
        [LINES_DO_LEASE] = lines_purchase_lease,
        [LINES_DO_RENEW] = lines_purchase_renew,
        [LINES_DO_RECORD] = lines_purchase_record,
        [LINES_DO_ASSIGN] = lines_purchase_assign,
        [LINES_DO_DROP] = lines_purchase_drop,
        [LINES_DO_TELL] = lines_purchase_tell,
        [LINES_DO_NEXT] = lines_purchase_next,
        [LINES_DO_REFUSE] = lines_purchase_refuse,
        [LINES_DO_FAIL] = lines_purchase_fail,
        [LINES_DO_RETURN] = lines_purchase_drop,
        [LINES_DO_END] = lines_purchase_end }, 0 },

    { "refund", { COMMON, [LINES_DO_END] = lines_refund_finish }, 1 },
    { "release", { COMMON, [LINES_DO_END] = lines_refund_finish }, 1 },
    { "orphan", { COMMON, [LINES_DO_END] = lines_refund_finish }, 1 },

    { "plan", { [LINES_DO_PLAN] = lines_plan_read,
                [LINES_DO_END] = lines_plan_leave }, 1 },
    { "lapse", { COMMON, [LINES_DO_LOOK] = lines_lapse_read,
                 [LINES_DO_STUCK] = lines_lapse_doubt,
                 [LINES_DO_END] = lines_lapse_judge }, 1 },

    { NULL, { NULL }, 0 }
};
