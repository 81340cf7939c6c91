// SPDX-License-Identifier: Apache-2.0
/* Words for people around a session: in a box on a terminal, else plain lines. */
#ifndef CLI_NOTICE_H
#define CLI_NOTICE_H

#include "base/buf.h"

/* The lines of `text`, separated by '\n', on stderr. */
void notice_print(const char *text);

/* The arguments (ended by NULL) as a shell would read them, quoted where need be. */
void notice_command(struct buf *out, char *const *argv);
/* One of them. */
void notice_quote(struct buf *out, const char *word);

#endif
