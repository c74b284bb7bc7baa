#!/bin/sh
# Stands in for an Envoy that never becomes ready, and fails once the file is there.
while [ ! -e "$ENVOY_FAILS" ]; do sleep 0.02; done
exit 3
