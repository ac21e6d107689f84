from ctypes import CDLL

#: libbcc.so.0 with its functions' argument types declared.
lib: CDLL
