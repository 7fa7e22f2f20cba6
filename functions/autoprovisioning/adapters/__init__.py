"""One module or package per outside system; each translates its SDK's errors into `domain.errors`."""
