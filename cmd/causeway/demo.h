/* `causeway demo`: the walkthrough, from a shared screen to a picture on a web page. */
#pragma once

/* argv[0] is "demo". The exit status: 0, 1 when something did not work, 2 for wrong options. */
int demo_main(int argc, char **argv);
