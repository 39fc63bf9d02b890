#include "redis.h"
int main(void) { sim_redis_destroy(sim_redis_create()); return 0; }
