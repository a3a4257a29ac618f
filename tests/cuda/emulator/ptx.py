class PtxModule:
    pass
