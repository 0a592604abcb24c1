// A wallet that is a contract, with one owner (ERC-1271), and who makes such wallets (ERC-6492).
// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.20;

contract LocalWallet {
    address private immutable owner;

    constructor(address owner_) { owner = owner_; }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        require(signature.length == 65, "not a signature");
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        bool good = ecrecover(hash, uint8(signature[64]), r, s) == owner;
        return good ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}

contract LocalWallets {
    function make(address owner, bytes32 salt) external returns (address) {
        return address(new LocalWallet{salt: salt}(owner));
    }

    function where(address owner, bytes32 salt) external view returns (address) {
        bytes32 made = keccak256(abi.encodePacked(type(LocalWallet).creationCode, abi.encode(owner)));
        bytes32 name = keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, made));
        return address(uint160(uint256(name)));
    }
}
