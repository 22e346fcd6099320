#!/bin/sh
# What the images of all apps install, the only place for it: APP SECURITY_MIRROR
set -eu
app=$1 security=$2
home=/opt/ood-runtime
export DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR="${PIP_NO_CACHE_DIR-1}" PIP_DISABLE_PIP_VERSION_CHECK=1
umask 022

# Images of a registry have it, what debootstrap makes has not.
if [ ! -e /etc/apt/sources.list.d/debian.sources ]; then
    echo "deb $security trixie-security main" >/etc/apt/sources.list.d/security.list
fi
apt-get -q update
apt-get -q -y upgrade
# iproute2 tells workers which of their addresses reaches the master.
set -- python3-venv openjdk-21-jre-headless ca-certificates iproute2
case $app in rstudio-spark) set -- "$@" r-base-core ;; esac
apt-get -q -y --no-install-recommends install "$@"
case $app in rstudio-spark) sh /build/rstudio.sh ;; esac

python3 -m venv "$home"
case $app in
    jupyter-spark) extras=jupyter,spark ;;
    *) extras=spark ;;
esac
"$home/bin/pip" --quiet install --constraint /build/constraints.txt "/build[$extras]"
"$home/bin/pip" check
"$home/bin/pip" freeze --exclude ood-runtime >"$home/installed.txt"

ln -s "$(dirname "$(dirname "$(readlink -f /usr/bin/java)")")" "$home/java"
cat >"$home/environment.sh" <<END
# What runs in the image is the image's own: a module that is loaded on the node does not change that.
export PATH=$home/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin
export JAVA_HOME=$home/java SPARK_HOME=$("$home/bin/python" -c 'import pyspark, os; print(os.path.dirname(pyspark.__file__))')
export LC_ALL=C.UTF-8
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP R_HOME SPARK_CONF_DIR
END
# Login shells, as in Jupyter's terminals, begin with a PATH of their own.
ln -s "$home/environment.sh" /etc/profile.d/ood-runtime.sh
cp /build/test.sh /build/sum.py "$home/"

# Root's own, and found by every session in the image: Java starts in half the time.
"$home/bin/ood-runtime" archives build --directory "$home/share/ood-runtime/class-data"

apt-get clean
# Not /tmp: while an image is built, that is the one of this machine, with the files of whoever works on it.
rm -rf /build /var/lib/apt/lists/* /root/.cache
