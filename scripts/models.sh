#!/usr/bin/env bash
# Imports the downloaded face models and ONNX Runtime into $VIDIMUS_MODELS. Usage: models.sh VIDIMUS_BINARY
. "$(dirname "$0")/lib.sh"

hold_cache
"$1" models import --models "${VIDIMUS_MODELS:-$VIDIMUS_CACHE/models}" \
    --from "$ASSETS/models-source" --onnxruntime "$ASSETS/onnxruntime/libonnxruntime.so"
