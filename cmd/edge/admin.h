/* causeway-edge user|secret add|del|list: changes the SQLite file of users. */
#pragma once

#include <stdbool.h>

/* Is it "user" or "secret"? */
bool admin_is(int argc, char **argv);
/* The program's exit status. */
int admin_run(int argc, char **argv);
