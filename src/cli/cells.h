// SPDX-License-Identifier: Apache-2.0
/*
 * Text as a terminal shows it: in cells, of which a character takes none, one or two. Clean text is
 * UTF-8 whose only bytes below ' ' are styles, each in force until the next one; nothing in it can
 * move a cursor. Widths are those of the C library (wcwidth), for the locale's LC_CTYPE.
 */
#ifndef CLI_CELLS_H
#define CLI_CELLS_H

#include "base/buf.h"

enum cells_style {
    CELLS_PLAIN = 1,
    CELLS_GRAY,
    CELLS_RED,
    CELLS_GREEN,
    CELLS_YELLOW,
    CELLS_MAGENTA,
    CELLS_BOLD,
    CELLS_STYLES
};

/*
 * Appends the text made clean: what a terminal would obey is left out (its escape sequences whole),
 * a tab is four spaces, a line's end a space, bytes that are no UTF-8 are U+FFFD. With `styled`,
 * the colours of our own log lines become styles.
 */
void cells_clean(struct slice text, bool styled, struct buf *out);

/* The first character (or style) of clean text, and what combines with it: its bytes, at least 1;
 * *width: 0 to 2. The text is not empty. */
size_t cells_next(struct slice text, int *width);
/* Cells that clean text takes. */
int cells_width(struct slice text);
/* Bytes at the front of clean text that take at most `width` cells; *used: how many they take. */
size_t cells_fit(struct slice text, int width, int *used);

/* Appends clean text in a column of that many cells: padded behind, or before it if `right`; or
 * cut, and then it ends with "..." where there is room for that. */
void cells_column(struct slice text, int width, bool right, struct buf *out);
void cells_style(struct buf *out, enum cells_style style);
void cells_spaces(struct buf *out, int count);

#endif
