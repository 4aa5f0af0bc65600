/* causeway-edge: the TURN server, and the commands for its users and for a running one. */
#include <string.h>

#include "cmd/edge/admin.h"
#include "cmd/edge/conf.h"
#include "cmd/edge/ctl.h"
#include "cmd/edge/import.h"
#include "cmd/edge/service.h"

int main(int argc, char **argv)
{
    struct conf *c = NULL;
    if (admin_is(argc, argv)) {
        return admin_run(argc, argv);
    }
    if (argc > 1 && strcmp(argv[1], "ctl") == 0) {
        return ctl_command(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "import-coturn") == 0) {
        return import_command(argc - 1, argv + 1);
    }
    enum conf_result got = conf_load(&c, &edge_program, argc, argv, edge_conf_valid);
    if (got != CONF_RUN) {
        return got == CONF_DONE ? 0 : 2;
    }
    return service_run(c, argc, argv);
}
