#!/bin/sh
# Installs RStudio Server: /build/rstudio.deb, or where that is empty, the release $RSTUDIO, whose SHA-256 has to be
# $RSTUDIO_SHA256. Its package is unpacked, not installed: it would bring a service, sudo and a C++ compiler's libraries.
set -eu
deb=/build/rstudio.deb
if [ ! -s "$deb" ]; then
    [ "$RSTUDIO" != none ] || exit 0
    architecture=$(dpkg --print-architecture)
    rm -f "$deb"
    /usr/lib/apt/apt-helper download-file \
        "https://download2.rstudio.org/server/jammy/$architecture/rstudio-server-$RSTUDIO-$architecture.deb" \
        "$deb" "SHA256:$RSTUDIO_SHA256"
fi
apt-get -q -y --no-install-recommends install libpq5 libsqlite3-0 libedit2 libssl3 psmisc procps
dpkg -x "$deb" /
for program in rserver rsession; do
    # ldd says nothing of what is no binary.
    if ldd "/usr/lib/rstudio-server/bin/$program" 2>/dev/null | grep 'not found'; then
        echo "$program of this release needs libraries that are not in the image" >&2
        exit 1
    fi
done
