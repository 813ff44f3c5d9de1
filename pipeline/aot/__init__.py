"""The ahead-of-time compiler: an int8 .tflite file becomes C for that model alone.

    .tflite -> Graph (pipeline.tflite) -> Steps (lower) -> Plan (plan) -> C files (emit)
"""
