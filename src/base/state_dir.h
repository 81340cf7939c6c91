// SPDX-License-Identifier: Apache-2.0
/* Where state is kept when nobody says where: the XDG state directory. */
#ifndef BASE_STATE_DIR_H
#define BASE_STATE_DIR_H

#include <stddef.h>

#include "base/error.h"

/*
 * Makes the directory of NAME, a path relative to $XDG_STATE_HOME/dispatch (default:
 * ~/.local/state/dispatch), its parents included, readable by this user alone, and writes
 * "sqlite:DIRECTORY/NAME" to `url`.
 */
int state_dir_store(char *url, size_t size, const char *name, struct error *err);

/* Makes each directory of an absolute or relative path that is not there, 0700. `path` is changed
 * meanwhile. */
int state_dir_make(char *path, struct error *err);

#endif
