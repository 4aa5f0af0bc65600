#!/usr/bin/env python3
"""Writes the page's files as a C header: embed.py OUT FILE..."""
import hashlib
import pathlib
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def main():
    out, *names = sys.argv[1:]
    text = ["/* Made by web/embed.py. */", "#pragma once", "", "#include <stddef.h>", ""]
    rows = []
    for i, name in enumerate(names):
        path = pathlib.Path(name)
        data = path.read_bytes()
        numbers = ",".join(str(b) for b in data)
        text.append(f"static const unsigned char web_file_{i}[] = {{{numbers}}};")
        etag = hashlib.sha256(data).hexdigest()[:16]
        rows.append(f'    {{"/{path.name}", "{TYPES[path.suffix]}", "\\"{etag}\\"", '
                    f"web_file_{i}, sizeof(web_file_{i})}},")
    text += ["", "struct web_file {", "    const char *path, *type, *etag;",
             "    const unsigned char *bytes;", "    size_t len;", "};", "",
             "static const struct web_file web_files[] = {", *rows, "};", ""]
    pathlib.Path(out).write_text("\n".join(text))


main()
